# Does not patch firmware, which another machine runs.
eval "all_$(declare -f patch_programs)"
patch_programs() { for folder in bin lib; do all_patch_programs "$1/$folder" "$2"; done; }
rm -rf "$out/etc"
