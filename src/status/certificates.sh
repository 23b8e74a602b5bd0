# Prints the certificates in use below the folders given. Runs as root: the
# folders hold keys as well.
for folder; do
  for file in "$folder"/consul-ca.crt "$folder"/consul.crt "$folder"/consul-client.crt "$folder"/nomad-ca.crt "$folder"/nomad.crt; do
    [ -f "$file" ] || continue
    end=$(openssl x509 -in "$file" -noout -enddate 2>/dev/null) || continue
    seconds=$(date -d "${end#notAfter=}" +%s) || continue
    echo "certificate $(((seconds - $(date +%s)) / 86400)) $file"
  done
done
