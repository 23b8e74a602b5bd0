# Prints `deaf ADDRESS` for each ADDRESS at which no server takes a connection, and `end`.
for address; do
  if is_deaf "$address"; then echo "deaf $address"; fi
done
echo end
