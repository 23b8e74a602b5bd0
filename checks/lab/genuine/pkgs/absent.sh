echo "the lab's package set has no $name" >&2
exit 1
