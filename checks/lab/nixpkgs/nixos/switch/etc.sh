# The files of /etc. /etc/static is the generation's tree; files are links into it, or copies with a mode. Files that the
# configuration does not name belong to the machine and stay.
# Follows nixos/modules/system/etc/setup-etc.pl.
etc_record=/var/lib/nixos/etc-files

standin_etc() {
  [ -z "${dry-}" ] || return 0
  local path mode owner group result=0
  local -A copy_mode=() copy_owner=()
  while IFS=$'\t' read -r path mode owner group; do
    copy_mode[$path]=$mode
    copy_owner[$path]=${owner#+}:${group#+}
  done <"$top/standin/copies"
  say "setting up /etc..."

  mkdir -p /var/lib/nixos
  local -a files
  mapfile -t files < <(cd "$top/etc" && find . \( -type f -o -type l \) -printf '%P\n' | sort)
  # Records the files before it makes them, so that after an interruption the next activation can remove them.
  local -a before=()
  [ ! -e "$etc_record" ] || mapfile -t before <"$etc_record"
  if [ "${before[*]}" != "${files[*]}" ]; then
    printf '%s\n' "${before[@]}" "${files[@]}" | sed '/^$/d' | sort -u | write_file 644 root:root "$etc_record" || return
  fi

  sshd_before=$(cat /etc/ssh/sshd_config.d/10-nixos.conf 2>/dev/null)
  write_link "$top/etc" /etc/static || return
  # Most links are right already. One `find` sees that faster than a process for each.
  local -A right=() managed=()
  local target
  while IFS=$'\t' read -r path target; do
    [ "$target" != "/etc/static/$path" ] || right[$path]=1
  done < <(find /etc -type l -lname '/etc/static/*' -printf '%P\t%l\n')
  for path in "${files[@]}"; do
    managed[$path]=1
    [ -z "${right[$path]-}" ] || [ -n "${copy_mode[$path]-}" ] || continue
    [[ $path != */* ]] || [ -d "/etc/${path%/*}" ] || mkdir -p "/etc/${path%/*}" || result=1
    if [ -d "/etc/$path" ] && [ ! -L "/etc/$path" ]; then
      say "warning: /etc/$path is a folder of the machine's own and stays"
    elif [ -n "${copy_mode[$path]-}" ]; then
      place_copy "$path" "${copy_mode[$path]}" "${copy_owner[$path]}" || result=1
    elif [ -e "/etc/$path" ] || [ -L "/etc/$path" ]; then
      write_link "/etc/static/$path" "/etc/$path" || result=1
    else
      ln -s "/etc/static/$path" "/etc/$path" || result=1
    fi
  done
  for path in "${before[@]}"; do
    if [ -z "$path" ] || [ -n "${managed[$path]-}" ]; then continue; fi
    say "removing obsolete file ‘/etc/$path’..."
    rm -f -- "/etc/$path"
    [[ $path != */* ]] || rmdir --ignore-fail-on-non-empty -p -- "/etc/${path%/*}" 2>/dev/null
  done
  if [ "${before[*]}" != "${files[*]}" ]; then
    printf '%s\n' "${files[@]}" | write_file 644 root:root "$etc_record" || result=1
  fi
  apply_sudo || result=1
  return "$result"
}

place_copy() { # PATH MODE OWNER
  if cmp -s "$top/etc/$1" "/etc/$1" && [ ! -L "/etc/$1" ]; then
    chown "$3" "/etc/$1" && chmod "$2" "/etc/$1"
  elif [[ $1 == sudoers.d/* ]] && command -v visudo >/dev/null && ! visudo -cqf "$top/etc/$1" >&2; then
    say "the sudo rules in $1 are wrong: the old ones stay"
    return 1
  else
    write_file "$2" "$3" "/etc/$1" <"$top/etc/$1"
  fi
}

# With security.sudo.execWheelOnly, only members of wheel can execute sudo.
apply_sudo() {
  local sudo=/usr/bin/sudo wanted=root mode=4755
  [ -e "$sudo" ] || return 0
  if [ -e "$top/standin/exec-wheel-only" ]; then wanted=wheel mode=4510; fi
  if [ "$(stat -c %G:%a "$sudo")" != "$wanted:$mode" ]; then chown "root:$wanted" "$sudo" && chmod "$mode" "$sudo"; fi
}

# Reloads sshd if its settings changed and `sshd -t` accepts them.
apply_sshd() {
  rm -f /run/nixos/sshd-rejected
  [ -e "$top/standin/sshd" ] || return 0
  command -v sshd >/dev/null || { say "sshd is not on this node"; return 1; }
  mkdir -p /run/sshd
  make_host_keys || return
  if ! sshd -t; then
    say "sshd rejects its new settings: it goes on with the old ones"
    touch /run/nixos/sshd-rejected
    return 0
  fi
  if [ "$sshd_before" = "$(cat /etc/ssh/sshd_config.d/10-nixos.conf)" ]; then return 0; fi
  if [ "${NIXOS_ACTION-}" != boot ] && systemctl is-active --quiet ssh.service; then
    say "reloading sshd"
    systemctl reload ssh.service
  fi
}

# Makes the configuration's host keys that are missing.
make_host_keys() {
  local kind bits path result=0
  local -a size
  while IFS=$'\t' read -r kind bits path; do
    [ ! -s "$path" ] || continue
    say "generating the host key $path"
    mkdir -p "$(dirname "$path")"
    size=()
    [ "$bits" = - ] || size=(-b "$bits")
    # Under another name first, so that an unfinished key is never used.
    rm -f "$path.new" "$path.new.pub"
    if ssh-keygen -q -t "$kind" "${size[@]}" -N '' -C "root@$(uname -n)" -f "$path.new" </dev/null; then
      mv "$path.new.pub" "$path.pub" && mv "$path.new" "$path" || result=1
    else
      result=1
    fi
  done < <(cat "$top/standin/host-keys" 2>/dev/null)
  return "$result"
}
