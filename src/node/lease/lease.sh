# Takes leases on this node and holds them while signs of life come on standard input. Releases them when that ends or
# is silent. Runs as root. Arguments: ID, steal or keep, the operator, their address, the operation, how many seconds
# that may be silent, after how many seconds a lease that is not renewed expires; then each lease's name.
named id how who from what silence age -- "$@"
shift "$taken"
folder=/run/nixcfg

# The lock is in a folder of root's alone: any account can hold a lock that it can read.
alone() { exec 9>>"$folder/locks/lease" && flock --timeout 10 9; }
free() { exec 9>&-; }
write() { # NAME SINCE
  printf '%s\n' "id $id" "who $who" "from $from" "for $what" "since $2" "renewed $(uptime_seconds)" >"$folder/$1.lease.new" &&
    mv -f "$folder/$1.lease.new" "$folder/$1.lease"
}
let_go() {
  alone
  for name; do
    [ "$(lease_of "$name" id)" != "$id" ] || rm -f "$folder/$name.lease"
  done
  free
}

umask 022
mkdir -p "$folder" && ( umask 077 && mkdir -p "$folder/locks" ) && alone || { echo "another run is taking leases here" >&2; exit 65; }
for name; do
  holder=$(lease_of "$name" id)
  if [ -n "$holder" ] && [ "$holder" != "$id" ] && [ "$how" != steal ]; then
    if [ $(($(uptime_seconds) - $(lease_of "$name" renewed))) -lt "$age" ]; then
      echo "held $name"
      sed "s/^/its /" "$folder/$name.lease"
      exit 0
    fi
  fi
done
for name; do
  holder=$(lease_of "$name" id)
  if [ -n "$holder" ] && [ "$holder" != "$id" ]; then
    # Their run learns from this who took it, also when this run has ended before they ask.
    printf '%s\n' "id $holder" "by $who" >"$folder/$name.taken.new" && mv -f "$folder/$name.taken.new" "$folder/$name.taken" || exit 65
  fi
done
since=$(date -u +%Y-%m-%dT%H:%M:%SZ)
for name; do
  write "$name" "$since" || { let_go "$@"; exit 65; }
done
free
echo "current $(readlink -f /run/current-system)"
echo "profile $(readlink -f /nix/var/nix/profiles/system)"
echo "taken"

trap 'let_go "$@"; exit 0' HUP TERM
while sign=$(timeout "$silence" head -c 1) && [ -n "$sign" ]; do
  alone || continue
  for name; do
    if [ "$(lease_of "$name" id)" != "$id" ]; then
      echo "lost $name to $(taker_of "$name" "$id")"
      free
      let_go "$@"
      exit 0
    fi
    write "$name" "$since"
  done
  free
done
let_go "$@"
