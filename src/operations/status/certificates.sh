# Prints the certificates in use below the folders given, each in Base64 and
# with its file. Runs as root: the folders hold keys as well.
for folder; do
  for file in "$folder"/consul-ca.crt "$folder"/consul.crt "$folder"/consul-client.crt "$folder"/nomad-ca.crt "$folder"/nomad.crt; do
    [ -f "$file" ] || continue
    echo "certificate $(base64 -w 0 "$file") $file"
  done
done
echo end
