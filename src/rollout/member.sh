# Prints, for each daemon, `member NAME` if this node is a member of Consul or Nomad, and `none NAME` if not; then `end`. Runs
# as root, with the node's own certificates; asks the agent here, and the leader answers. Arguments: the node's name, how many
# seconds to wait for each membership, and after a `--` the daemons as daemons.sh takes them. With seconds it prints why a
# membership is missing, and exits with 1.
named node seconds -- "$@"
shift "$taken"

member() {
  if ! systemctl is-active --quiet -- "$unit"; then
    said="$unit does not run"
    return 1
  fi
  case $daemon in
  consul) path=/v1/health/node/$node condition='CheckID == "serfHealth" and Status == "passing"' ;;
  nomad) path=/v1/nodes condition="Name == \"$node\" and Status == \"ready\"" ;;
  esac
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

# Becomes a member within the seconds, or fails.
joins() {
  until=$(($(date +%s) + seconds))
  until member; do
    [ "$(date +%s)" -lt "$until" ] || return
    sleep 1
  done
}

while [ $# -gt 0 ]; do
  named daemon unit port name folder -- "$@"
  shift "$taken"
  if joins; then
    echo "member $daemon"
  elif [ "$seconds" -gt 0 ]; then
    echo "$said"
    exit 1
  else
    echo "none $daemon"
  fi
done
echo end
