# init TOPLEVEL: makes this system the booted one. The node runs it at each start, before sysinit.target.
# Follows nixos/modules/system/boot/stage-2-init.sh.
top=$1
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
source "$here/common.sh"
source "$here/units.sh"
mkdir -p -m 755 /run/nixos
write_link "$top" /run/booted-system
plan_units "$(readlink -f /etc/static 2>/dev/null)" "$top/etc"
NIXOS_ACTION=boot /bin/bash "$here/activate.sh" "$top" || say "the activation failed in part"
# systemd has started with the units from before the activation.
systemctl daemon-reload
[ ${#to_stop[@]} -eq 0 ] || systemctl stop --no-block -- "${to_stop[@]}"
mapfile -t all < <(for file in "$top"/etc/systemd/system/*.target.wants/*; do printf '%s\n' "${file##*/}"; done | sort -u)
[ ${#all[@]} -eq 0 ] || systemctl start --no-block -- "${all[@]}"
