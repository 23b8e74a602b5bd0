# Prints the state of this node's daemons and their servers. Runs as root, with the node's own certificates. Arguments,
# for each daemon, up to a `--`: its name, unit, HTTPS port, the name in its certificate, the folder of its certificates.
#   daemon NAME STATE INVOCATION         as systemd has them; a dash for none
#   health NAME STATUS BASE64            the answer to /v1/operator/autopilot/health; status 000 without an answer
#   peers NAME STATUS BASE64             the answer to /v1/status/peers?stale, which needs no leader
#   deaf NAME ADDRESS                    a server that the health names and that takes no connection at that address
#   end                                  the end of the answer
set -u
ask() { # PATH SECONDS
  curl --silent --show-error --max-time "$2" --noproxy '*' --cacert "$folder/$daemon-ca.crt" --cert "$folder/$daemon.crt" \
    --key "$folder/$daemon.key" --connect-to "::127.0.0.1:$port" --write-out '\n%{http_code}' "https://$name:$port$1" 2>&1
}
answer() { # WORD PATH SECONDS
  said=$(ask "$2" "$3")
  status=${said##*"$newline"}
  case $status in
  [0-9][0-9][0-9]) ;;
  *) status=000 said="$said$newline" ;;
  esac
  echo "$1 $daemon $status $(printf '%s' "${said%"$newline"*}" | base64 -w 0)"
}
# Looks whether the servers of an answer about health take connections.
deaf() {
  printf '%s' "$said" | tr ',{' '\n\n' | sed -n 's/^ *"Address": *"\([^" ]*\)".*$/\1/p' | while read -r address; do
    if is_deaf "$address"; then echo "deaf $daemon $address"; fi
  done
}
while [ $# -gt 0 ]; do
  named daemon unit port name folder -- "$@"
  shift "$taken"
  state=$(systemctl show -p ActiveState --value -- "$unit")
  invocation=$(systemctl show -p InvocationID --value -- "$unit")
  echo "daemon $daemon ${state:--} ${invocation:--}"
  [ "$state" = active ] || continue
  # Consul holds this request for up to 12 seconds while it has no leader.
  answer health /v1/operator/autopilot/health 15
  deaf
  answer peers '/v1/status/peers?stale' 8
done
echo end
