# Runs a check on this node until it passes or its attempts are used up. Runs as root. Prints the output of the last
# attempt. Arguments: attempts, seconds between them, seconds for each; then `command` and its words, `http` and a URL,
# or `tcp` and host:port.
attempts=$1 interval=$2 limit=$3 kind=$4
shift 4

once() {
  case $kind in
  command) timeout --kill-after=5 "$limit" "$@" ;;
  http) curl --silent --show-error --fail --output /dev/null --max-time "$limit" --url "$1" ;;
  tcp)
    host=${1%:*} port=${1##*:}
    host=${host#[}
    timeout "$limit" bash -c 'exec 3<>"/dev/tcp/$1/$2"' nixcfg-check "${host%]}" "$port"
    ;;
  esac 2>&1 </dev/null
}

while :; do
  said=$(once "$@") && exit 0
  code=$?
  attempts=$((attempts - 1))
  [ "$attempts" -gt 0 ] || break
  sleep "$interval"
done
printf '%s\n' "$said" | tail -n 5
[ "$code" != 124 ] || echo "no answer within $limit seconds"
exit 1
