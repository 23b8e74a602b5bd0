# Prints the certificates in use below the given folders, each in Base64 and with its file. Runs as root, as the folders
# hold keys too.
for folder; do
  for file in "$folder"/consul-ca.crt "$folder"/consul.crt "$folder"/consul-client.crt "$folder"/nomad-ca.crt "$folder"/nomad.crt; do
    [ -f "$file" ] || continue
    echo "certificate $(base64 -w 0 "$file") $file"
  done
done
echo end
