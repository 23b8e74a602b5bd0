# What a switch does to systemd units. plan_units decides it from two etc trees and the units' states; apply_units does it.
# Follows pkgs/by-name/sw/switch-to-configuration-ng/src/src/main.rs.
declare -a to_stop=() to_reload=() to_restart=() to_start=() skipped=() again=() new=()
declare -A state=()

say_units() { # WHAT UNIT…
  local what=$1
  shift
  [ $# -eq 0 ] || say "$what: $(joined "$@")"
}
failed_units() { systemctl list-units --state=failed --full --all --plain --no-legend 2>/dev/null | awk '{ print $1 }'; }

# The units that a tree defines or adds to, one a line.
units_of() {
  local file
  [ -d "$1/systemd/system" ] || return 0
  for file in "$1"/systemd/system/*; do
    case $file in
      *.wants | *.requires | *.upholds | *.conf.d) ;;
      *.d) file=${file##*/}; printf '%s\n' "${file%.d}" ;;
      *) printf '%s\n' "${file##*/}" ;;
    esac
  done
}
# Reads a unit's text in a tree into REPLY. It starts no process, as a switch reads dozens of units.
text_of() { # TREE UNIT
  local file text=
  for file in "$1/systemd/system/$2" "$1/systemd/system/$2.d"/*.conf; do
    [ -e "$file" ] || continue
    IFS= read -r -d '' REPLY <"$file"
    text+=$REPLY
  done
  REPLY=${text%$'\n'}
}
says() { # TEXT SETTING: whether it is on
  [[ $'\n'$1 =~ $'\n'"$2"=(true|yes|1|on) ]]
}
says_no() { [[ $'\n'$1 =~ $'\n'"$2"=(false|no|0|off) ]]; }
# Removes settings that do not matter to a running unit.
essence() {
  sed -E '/^(Description|Documentation|OnFailure|OnSuccess|OnFailureJobMode|IgnoreOnIsolate|StopWhenUnneeded|RefuseManualStart|RefuseManualStop|AllowIsolate|CollectMode|SourcePath|X-Reload-Triggers)=/d'
}

read_states() { # UNIT…
  local line id=
  while read -r line; do
    case $line in
      Id=*) id=${line#Id=} ;;
      ActiveState=*) state[$id]=${line#ActiveState=} ;;
    esac
  done < <(systemctl show --property=Id,ActiveState -- "$@" 2>/dev/null)
}
is_active() { [ "${state[$1]-}" = active ] || [ "${state[$1]-}" = activating ] || [ "${state[$1]-}" = reloading ]; }

plan_units() { # OLD-TREE NEW-TREE
  local old=$1 new=$2 unit before after file target
  local -a olds news
  mapfile -t olds < <([ -z "$old" ] || units_of "$old")
  mapfile -t news < <(units_of "$new")
  local -a known targets
  mapfile -t targets < <(for file in "$new"/systemd/system/*.{wants,requires}; do file=${file##*/}; printf '%s\n' "${file%.*}"; done)
  # Templates have no state of their own.
  mapfile -t known < <(printf '%s\n' "${olds[@]}" "${news[@]}" "${targets[@]}" | grep -v '@\.' | sed '/^$/d' | sort -u)
  [ ${#known[@]} -eq 0 ] || read_states "${known[@]}"
  local -A is_new=()
  for unit in "${news[@]}"; do is_new[$unit]=1; done

  for unit in "${olds[@]}"; do
    [ -z "${is_new[$unit]-}" ] || continue
    text_of "$old" "$unit"
    before=$REPLY
    if ! is_active "$unit" || says_no "$before" X-StopOnRemoval; then continue; fi
    # If a drop-in goes, the machine's unit goes on.
    if [ -e "$old/systemd/system/$unit" ]; then to_stop+=("$unit"); else to_restart+=("$unit"); fi
  done
  for unit in "${news[@]}"; do
    is_active "$unit" || continue
    text_of "$new" "$unit"
    after=$REPLY
    before=
    if [ -n "$old" ]; then
      text_of "$old" "$unit"
      before=$REPLY
    fi
    [ "$before" != "$after" ] || continue
    if [ "$(readlink "$new/systemd/system/$unit")" = /dev/null ]; then to_stop+=("$unit"); continue; fi
    if [ "$(essence <<<"$before")" = "$(essence <<<"$after")" ]; then
      if [ "$(grep ^X-Reload-Triggers= <<<"$before")" != "$(grep ^X-Reload-Triggers= <<<"$after")" ]; then to_reload+=("$unit"); fi
      continue
    fi
    change_unit "$unit" "$after"
  done

  # Starts what active targets of the new tree want, as a start of the target does.
  local -A seen=()
  for file in "$new"/systemd/system/*.wants/* "$new"/systemd/system/*.requires/*; do
    unit=${file##*/}
    target=${file%/*}
    target=${target##*/}
    target=${target%.*}
    [ -z "${seen[$unit]-}" ] || continue
    case $target in
      multi-user.target | default.target | graphical.target) ;;
      *) is_active "$target" || continue ;;
    esac
    seen[$unit]=1
    text_of "$new" "$unit"
    if ! is_active "$unit" && ! says "$REPLY" X-OnlyManualStart; then to_start+=("$unit"); fi
  done
}

change_unit() { # UNIT TEXT
  case $1 in
    *.target | *.slice | *.mount) return ;;
  esac
  local socket=${1%.service}.socket
  if says "$2" X-ReloadIfChanged; then
    to_reload+=("$1")
  elif says_no "$2" X-RestartIfChanged || says "$2" RefuseManualStop || says "$2" X-OnlyManualStart; then
    skipped+=("$1")
  elif says_no "$2" X-StopIfChanged; then
    to_restart+=("$1")
  elif [ "$socket" != "$1" ] && ! says "$2" X-NotSocketActivated && systemctl is-active --quiet -- "$socket"; then
    # The next connection starts it anew.
    to_stop+=("$1" "$socket")
    to_start+=("$socket")
  else
    to_stop+=("$1")
    to_start+=("$1")
  fi
}

# Splits to_start into units that were stopped for their change (again) and units that did not run (new).
split_starts() {
  local unit
  for unit in "${to_start[@]}"; do
    if is_active "$unit"; then again+=("$unit"); else new+=("$unit"); fi
  done
}

apply_units() {
  local result=0 unit
  systemctl daemon-reload || result=1
  [ ! -s /etc/tmpfiles.d/00-nixos.conf ] || systemd-tmpfiles --create /etc/tmpfiles.d/00-nixos.conf || result=1
  [ ! -s /etc/sysctl.d/60-nixos.conf ] || sysctl --quiet --load=/etc/sysctl.d/60-nixos.conf ||
    say "warning: not every setting of boot.kernel.sysctl could be applied"
  for unit in "${to_stop[@]}" "${to_restart[@]}" "${to_start[@]}"; do
    [ "${state[$unit]-}" != failed ] || systemctl reset-failed -- "$unit" 2>/dev/null
  done
  if [ ${#to_reload[@]} -gt 0 ]; then
    say_units "reloading the following units" "${to_reload[@]}"
    systemctl reload-or-restart -- "${to_reload[@]}" || result=1
  fi
  if [ ${#to_restart[@]} -gt 0 ]; then
    say_units "restarting the following units" "${to_restart[@]}"
    systemctl restart -- "${to_restart[@]}" || result=1
  fi
  if [ ${#to_start[@]} -gt 0 ]; then
    # New units are named once they run.
    split_starts
    say_units "starting the following units" "${again[@]}"
    systemctl start -- "${to_start[@]}" || result=1
    local -a started=()
    state=()
    read_states "${to_start[@]}"
    for unit in "${new[@]}"; do
      if is_active "$unit"; then started+=("$unit"); fi
    done
    say_units "the following new units were started" "${started[@]}"
  fi
  return "$result"
}

# Reports units that failed in this switch, and units that systemd keeps restarting.
report_failed() {
  local -a failed=()
  local unit
  while read -r unit; do
    [ -n "$unit" ] || continue
    if ! grep -qxF -- "$unit" <<<"$failed_before" || [[ " ${to_start[*]} ${to_restart[*]} ${to_reload[*]} " == *" $unit "* ]]; then
      failed+=("$unit")
    fi
  done < <(failed_units)
  while read -r unit; do
    if [[ " ${to_start[*]} ${to_restart[*]} " == *" $unit "* ]]; then failed+=("$unit"); fi
  done < <(systemctl list-units --state=auto-restart --full --all --plain --no-legend 2>/dev/null | awk '{ print $1 }')
  if [ -e /run/nixos/sshd-rejected ]; then failed+=("ssh.service"); fi
  [ ${#failed[@]} -gt 0 ] || return 0
  say "warning: the following units failed: $(joined "${failed[@]}")"
  systemctl status --no-pager --full --lines=10 -- "${failed[@]}" >&2
  return 1
}
