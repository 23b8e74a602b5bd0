# activate TOPLEVEL [dry]: runs the activation snippets in order, the stand-in's own steps among them, and makes
# TOPLEVEL the current system. After a snippet that fails, the others are run, and the exit code is 1.
# Follows nixos/modules/system/activation/activation-script.nix.
top=$1
dry=${2-}
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
source "$here/common.sh"
source "$here/etc.sh"
source "$here/users.sh"
systemConfig=$top
export systemConfig
[ -z "$dry" ] || export NIXOS_ACTION=dry-activate
mkdir -p -m 755 /run/nixos

_status=0
_localstatus=0
trap '_status=1 _localstatus=$?' ERR
for snippet in "$top"/standin/activation/*; do
  name=${snippet##*/}
  name=${name#*-}
  if [ -n "$dry" ] && ! grep -qxF -- "$name" "$top/standin/dry-run"; then continue; fi
  _localstatus=0
  source "$snippet"
  if [ "$_localstatus" != 0 ]; then say "Activation script snippet '$name' failed ($_localstatus)"; fi
done
trap - ERR
[ -z "$dry" ] || exit "$_status"

apply_sshd || _status=1
write_link "$top" /run/current-system
[ -e /run/booted-system ] || write_link "$top" /run/booted-system
if [ -d /nix/var/nix/gcroots ]; then
  write_link /run/current-system /nix/var/nix/gcroots/current-system
  write_link /run/booted-system /nix/var/nix/gcroots/booted-system
fi
exit "$_status"
