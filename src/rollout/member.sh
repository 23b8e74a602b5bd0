# Prints `member` if this node is a member of its Consul or Nomad, and exits with 1 if not. Runs as root, with the node's
# own certificates; asks the agent here, and the leader answers. Arguments: consul or nomad, its unit, its HTTPS port, the
# name in its certificate, the folder of its certificates, the node's name, how many seconds to wait for the membership.
named daemon unit port name folder node seconds -- "$@"
until=$(($(date +%s) + seconds))
case $daemon in
consul) path=/v1/health/node/$node condition='CheckID == "serfHealth" and Status == "passing"' ;;
nomad) path=/v1/nodes condition="Name == \"$node\" and Status == \"ready\"" ;;
esac

member() {
  if ! systemctl is-active --quiet -- "$unit"; then
    said="$unit does not run"
    return 1
  fi
  said=$(curl --silent --show-error --fail --max-time 4 --noproxy '*' --cacert "$folder/$daemon-ca.crt" \
    --cert "$folder/$daemon.crt" --key "$folder/$daemon.key" --connect-to "::127.0.0.1:$port" \
    --get --data-urlencode "filter=$condition" "https://$name:$port$path" 2>&1) || return
  case $said in
  '[]' | null | '')
    said="the leader does not count it as alive"
    return 1
    ;;
  esac
}

until member; do
  if [ "$(date +%s)" -ge "$until" ]; then
    echo "$said"
    exit 1
  fi
  sleep 1
done
echo member
