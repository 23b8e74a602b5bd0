# A node's way back, as stored on the node. The scripts that prepare it, confirm the new system and go back share this.
#
# The record names the running system and the profile's exact generation from before the switch. While it exists, the
# new system is not confirmed.
state=/var/lib/nixcfg/rollback
profile=/nix/var/nix/profiles/system
boot_unit=nixcfg-return.service
control=/etc/systemd/system.control

# Prints a value of the record. The shell reads it without a child, as a node's switch waits for all processes here.
recorded() {
  while read -r key value; do [ "$key" != "$1" ] || echo "$value"; done 2>/dev/null <"$state/pending"
}
current() { readlink -f /run/current-system; }
boot_id() { read -r id </proc/sys/kernel/random/boot_id && echo "$id"; }
# Whether the node has restarted since the record was made.
restarted() { [ "$(recorded boot)" != "$(boot_id)" ]; }

# Prints the parts of a system that only a restart brings. Needs the variable parts.
restart_for() { # SYSTEM
  other_parts "$1"
  inhibited "$1"
}

# Prints the switch inhibitors that forbid a live switch from the running system. If both systems have inhibitors, these
# are the common ones that differ, as in NixOS; if only one has them, all of them. They are a JSON object of strings.
inhibited() ( # SYSTEM
  ran=$(inhibitors_of /run/current-system) new=$(inhibitors_of "$1")
  if [ "$ran" = "$new" ]; then exit; fi
  if [ -z "$ran" ] || [ -z "$new" ]; then
    echo switch-inhibitors
    exit
  fi
  tab=$(printf '\t') running=$(strings_of "$ran")
  strings_of "$new" | while IFS=$tab read -r name value; do
    printf '%s\n' "$running" | while IFS=$tab read -r other was; do
      if [ "$name" = "$other" ] && [ "$value" != "$was" ]; then echo "$name" | tr -d '"'; fi
    done
  done
)
# Pre-releases of 26.05 had a list of paths in this file. Anything but an object counts as none.
inhibitors_of() { file=$(readlink -e "$1/switch-inhibitors") && [ "$(head -c 1 "$file")" = "{" ] && echo "$file"; }
strings_of() { grep -oE '"([^"\]|\\.)*"' "$1" | paste - -; }

# Prints signs of life while this shell runs, or until `still`, so that the waiting side knows that the node still
# answers.
beat() {
  while sleep 10 >/dev/null 2>&1; do echo nixcfg-alive; done &
  heart=$!
  trap still EXIT
}
still() { kill "$heart" 2>/dev/null; trap - EXIT; }

# The target of the way back: the system and generation from before the switch. A node that had the new system already
# and only had to boot it goes back to its booted system.
way_back() {
  before=$(recorded profile) generation=$(recorded generation)
  if [ -n "$(recorded fallback)" ] && restarted; then
    before=$(recorded fallback) generation=$(recorded fallback-generation)
  fi
}

# Replaces a file of the state by standard input, and flushes it to the disk.
keep() {
  cat >"$state/$1.new" && sync "$state/$1.new" && mv -f "$state/$1.new" "$state/$1" && sync "$state"
}

# Saves the accounts, and the list of those that NixOS regards as its own. NixOS removes such an account once a
# configuration does not declare it. So going back could remove an administrator whose existing account the new
# configuration took over.
keep_accounts() {
  rm -rf "$state/accounts" && mkdir -m 700 "$state/accounts" || return
  set --
  for file in /etc/passwd /etc/group /etc/shadow /var/lib/nixos/declarative-*; do
    [ ! -f "$file" ] || set -- "$@" "$file"
  done
  # After a power cut the record may exist without these files, unless they are flushed to the disk.
  cp -p "$@" "$state/accounts/" && sync "$state/accounts"/* "$state/accounts"
}
accounts_back() {
  [ -s "$state/accounts/passwd" ] || return 0
  for file in /var/lib/nixos/declarative-*; do
    [ -e "$state/accounts/${file##*/}" ] || rm -f "$file"
  done
  for file in "$state/accounts"/*; do
    case ${file##*/} in
    declarative-*) to=/var/lib/nixos/${file##*/} ;;
    *) to=/etc/${file##*/} ;;
    esac
    put_back "$file" "$to" || { echo "nixcfg: $to could not be put back"; astray=1; }
  done
}

# Restores a file of accounts in its real place: NixOS may keep it elsewhere, with a link. Where users are immutable,
# userborn mounts each file on itself, so that nothing can replace it (nixos/modules/services/system/userborn.nix,
# 26.05).
put_back() { # KEPT FILE
  real=$(readlink -f "$2") || return
  if mountpoint -q "$real"; then umount --lazy "$real" || return; fi
  cp -p "$1" "$real.nixcfg" && sync "$real.nixcfg" && mv -fT "$real.nixcfg" "$real"
}

# Lets userborn protect its files again. Few systems have such a unit.
accounts_shut() {
  systemctl is-active --quiet userborn.service || return 0
  systemctl restart userborn.service || { echo "nixcfg: userborn.service failed"; astray=1; }
}

# Records in the journal who changed what, from which system to which, and the outcome.
audit() { # OUTCOME
  echo "$(recorded what): who=$(recorded who) run=$(recorded run) action=$(recorded action) from=$(recorded previous) to=$(recorded system) outcome=$1" |
    systemd-cat -t nixcfg -p notice
}

# One process at a time goes back or confirms. The lock is in a folder of root's alone: any account can hold a lock that
# it can read.
alone() {
  ( umask 022 && mkdir -p /run/nixcfg )
  ( umask 077 && mkdir -p /run/nixcfg/locks )
  exec 9>>/run/nixcfg/locks/rollback
  flock "$@" 9
}

# Ends the script unless the node waits for the confirmation of this run. Holds the lock from then on.
waits_for() { # RUN
  alone --timeout 5 || { echo "the node is going back already" >&2; exit 67; }
  if [ "$(recorded run)" != "$1" ]; then
    echo "the node is not waiting for confirmation of $1" >&2
    exit 67
  fi
}

# Every account can read NixOS's own lock file. From now on only root can open it; if other accounts alone hold it
# already, a new file replaces it. The process that took a lock may have left it to a child: the kernel shows every
# holder in fdinfo.
switching=/run/nixos/switch-to-configuration.lock
own_switch_lock() {
  if ! [ -e "$switching" ] || ! chmod 600 "$switching" || flock --nonblock "$switching" true; then return 0; fi
  set -- $(stat -c '%d %i' "$switching")
  place=$(printf '%02x:%02x:%s' $(($1 >> 8 & 4095)) $(($1 & 255 | $1 >> 12 & 1048320)) "$2")
  holders=''
  for file in $(grep -rls "FLOCK .* $place " /proc/[0-9]*/fdinfo); do
    process=${file#/proc/} process=${process%%/*} key=''
    # The real user: a folder of /proc belongs to root if the process is not dumpable.
    while read -r key uid _; do [ "$key" != Uid: ] || break; done 2>/dev/null <"/proc/$process/status"
    if [ "$key" = Uid: ] && [ "$uid" = 0 ]; then return 0; fi
    holders="$holders $process"
  done
  echo "nixcfg: $switching was held, and not by root (processes:$holders)"
  ( umask 077 && : >"$switching.nixcfg" ) && mv -fT "$switching.nixcfg" "$switching"
}

# Ends a switch, in either way. The record goes first, as the rest does nothing without it.
forget() {
  rm -f "$state/pending"
  sync "$state"
  rm -rf "$state/accounts" "$state/return" "$state/room" /nix/var/nix/gcroots/nixcfg-previous /nix/var/nix/gcroots/nixcfg-previous-profile
  if [ -d "$control" ]; then
    for target in multi-user emergency rescue; do
      rm -f "$control/$target.target.wants/$boot_unit"
      rmdir "$control/$target.target.wants" 2>/dev/null
    done
    rm -f "$control/$boot_unit"
    rmdir "$control" 2>/dev/null
  fi
  systemctl stop "nixcfg-overdue-$1.timer" "nixcfg-confirm-$1.timer" 2>/dev/null
  return 0
}

# Sets the profile to its recorded generation again, by that generation's own link, and removes one that the switch
# made. Works on a full disk.
profile_back() (
  way_back
  link=$generation path=$before now=$(readlink "$profile")
  if [ -z "$link" ] || [ "$now" = "$link" ]; then exit; fi
  folder=${profile%/*}
  [ -e "$folder/$link" ] || ln -sfn "$path" "$folder/$link"
  ln -sfn "$link" "$profile.nixcfg" && mv -fT "$profile.nixcfg" "$profile" || exit
  number=${now#system-}
  number=${number%-link}
  if [ "$number" -gt "$(recorded newest)" ] 2>/dev/null; then rm -f "$folder/$now"; fi
  sync "$folder"
)
