# Prints for each ADDRESS `deaf ADDRESS` if no server takes a connection there, else `hears ADDRESS`; then `end`.
for address; do
  if is_deaf "$address"; then echo "deaf $address"; else echo "hears $address"; fi
done
echo end
