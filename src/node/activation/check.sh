# Runs a check on this node until it passes or its attempts are used up. Runs as root. Prints `passed`; or `failed`, and
# `said LINE` for the last lines of the last attempt. Arguments: attempts, seconds between them, seconds for each, the
# kind; then the words of a `command`, the URL of `http`, or host:port of `tcp`.
named attempts interval limit kind -- "$@"
shift "$taken"

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
  said=$(once "$@") && { echo passed; echo end; exit; }
  code=$?
  attempts=$((attempts - 1))
  [ "$attempts" -gt 0 ] || break
  sleep "$interval"
done
echo failed
printf '%s\n' "$said" | tail -n 5 | sed 's/^/said /'
[ "$code" != 124 ] || echo "said no answer within $limit seconds"
echo end
