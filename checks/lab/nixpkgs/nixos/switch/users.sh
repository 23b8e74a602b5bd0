# Accounts, by the rules of users.mutableUsers. Reads the four files, changes them in memory and replaces them one by one.
# The machine's accounts below uid 1000 stay in any case, as Debian's packages made them.
# Follows nixos/modules/config/update-users-groups.pl.
state=/var/lib/nixos

standin_users() {
  [ -z "${dry-}" ] || return 0
  local mutable=
  [ "$(cat "$top/standin/users/mode")" = immutable ] || mutable=1
  say "updating users and groups..."
  mkdir -p "$state"
  read_accounts
  update_groups
  update_users
  write_accounts
}

declare -A group_gid=() group_members=() user_line=() user_shadow=() uid_map=() gid_map=() declared_group=() declared_user=() declared_members=()
declare -a group_order=() user_order=()

read_accounts() {
  local name rest hash gid members line
  while IFS=: read -r name hash gid members; do
    group_order+=("$name") group_gid[$name]=$gid group_members[$name]=$members
  done </etc/group
  while IFS= read -r line; do
    name=${line%%:*}
    user_order+=("$name") user_line[$name]=$line
  done </etc/passwd
  while IFS= read -r line; do user_shadow[${line%%:*}]=$line; done </etc/shadow
  # An id is never given to another account.
  if [ -e "$state/uid-map" ]; then while IFS=: read -r name rest; do uid_map[$name]=$rest; done <"$state/uid-map"; fi
  if [ -e "$state/declarative-members" ]; then
    while IFS=: read -r name rest; do declared_members[$name]=$rest; done <"$state/declarative-members"
  fi
  if [ -e "$state/gid-map" ]; then while IFS=: read -r name rest; do gid_map[$name]=$rest; done <"$state/gid-map"; fi
}

# free_id FIRST LAST ID…: a number in that range, counted up or down, that is in none of the used ones.
free_id() {
  local from=$1 to=$2 step=1 id
  shift 2
  [ "$from" -le "$to" ] || step=-1
  local -A used=()
  for id; do used[$id]=1; done
  for ((id = from; id != to + step; id += step)); do
    if [ -z "${used[$id]-}" ]; then echo "$id"; return; fi
  done
  say "no free id between $from and $to"
  return 1
}

update_groups() {
  local name gid members one
  local -A was_declared=()
  if [ -e "$state/declarative-groups" ]; then
    while read -r one; do was_declared[$one]=1; done <"$state/declarative-groups"
  fi
  while IFS=$'\t' read -r name gid members; do
    declared_group[$name]=1
    [ "$members" != - ] || members=
    if [ -n "${group_gid[$name]-}" ]; then
      if [ "$gid" != - ] && [ "$gid" != "${group_gid[$name]}" ]; then
        say "warning: not applying GID change of group ‘$name’ (${group_gid[$name]} -> $gid) in /etc/group"
      fi
      # With mutable users, members that were added on the node stay; those of the old configuration go.
      if [ -n "$mutable" ]; then
        merge_members "$name" "$members"
        members=$REPLY
      fi
    else
      group_order+=("$name")
      if [ "$gid" = - ]; then gid=${gid_map[$name]-}; fi
      if [ -z "$gid" ]; then gid=$(free_id 999 400 "${group_gid[@]}" "${gid_map[@]}"); fi
      group_gid[$name]=$gid
    fi
    gid_map[$name]=${group_gid[$name]}
    group_members[$name]=$members
  done <"$top/standin/users/groups"
  local -a kept=()
  for name in "${group_order[@]}"; do
    if [ -z "${declared_group[$name]-}" ] && { [ -n "${was_declared[$name]-}" ] || [ -z "$mutable" ] && [ "${group_gid[$name]}" -ge 1000 ] && [ "${group_gid[$name]}" -lt 30000 ]; }; then
      say "removing group ‘$name’"
      unset "group_gid[$name]"
    else
      kept+=("$name")
    fi
  done
  group_order=("${kept[@]}")
}

# Sets REPLY to the members of the configuration, and those that were added on the node.
merge_members() { # GROUP MEMBERS
  local -A before=() there=()
  local one
  for one in ${declared_members[$1]//,/ }; do before[$one]=1; done
  REPLY=$2
  for one in ${2//,/ }; do there[$one]=1; done
  for one in ${group_members[$1]//,/ }; do
    if [ -z "${before[$one]-}${there[$one]-}" ]; then REPLY+=${REPLY:+,}$one; fi
  done
}

update_users() {
  local name uid group home shell description kind homeMode file hashed password initialHash initial expires
  local old gid one hash fresh
  local -A was_declared=()
  local -a used=()
  if [ -e "$state/declarative-users" ]; then
    while read -r one; do was_declared[$one]=1; done <"$state/declarative-users"
  fi
  for one in "${user_line[@]}"; do IFS=: read -r _ _ uid _ <<<"$one"; used+=("$uid"); done
  while IFS=$'\t' read -r name uid group home shell description kind homeMode file hashed password initialHash initial expires; do
    declared_user[$name]=1
    fresh=
    old=${user_line[$name]-}
    gid=${group_gid[$group]}
    [ "$description" != - ] || description=
    if [ -n "$old" ]; then
      local oldUid oldShell
      IFS=: read -r _ _ oldUid _ _ _ oldShell <<<"$old"
      if [ "$uid" != - ] && [ "$uid" != "$oldUid" ]; then
        say "warning: not applying UID change of user ‘$name’ ($oldUid -> $uid) in /etc/passwd"
      fi
      uid=$oldUid
      if [ "$shell" = - ]; then shell=$oldShell; fi
    else
      fresh=1
      user_order+=("$name")
      if [ "$uid" = - ]; then uid=${uid_map[$name]-}; fi
      if [ -z "$uid" ]; then
        if [ "$kind" = system ]; then uid=$(free_id 999 400 "${used[@]}" "${uid_map[@]}"); else uid=$(free_id 1000 29999 "${used[@]}" "${uid_map[@]}"); fi
      fi
      used+=("$uid")
      if [ "$shell" = - ]; then shell=/usr/sbin/nologin; fi
    fi
    uid_map[$name]=$uid
    user_line[$name]=$name:x:$uid:$gid:$description:$home:$shell
    if [ "$homeMode" != - ]; then make_home "$home" "$uid" "$gid" "$homeMode"; fi

    wanted_hash "$name" "$file" "$hashed" "$password"
    hash=$REPLY
    if [ -n "$fresh" ] && [ -z "$hash" ]; then
      if [ "$initial" != - ]; then
        hash=$(hash_of "$initial")
      elif [ "$initialHash" != - ]; then
        hash=$initialHash
      fi
    fi
    set_shadow "$name" "$hash" "$fresh" "$expires"
  done <"$top/standin/users/accounts"

  local -a kept=()
  for name in "${user_order[@]}"; do
    IFS=: read -r _ _ uid _ <<<"${user_line[$name]}"
    # Ids from 30000 on are those of nixbld's accounts and of nobody.
    if [ -z "${declared_user[$name]-}" ] && { [ -n "${was_declared[$name]-}" ] || [ -z "$mutable" ] && [ "$uid" -ge 1000 ] && [ "$uid" -lt 30000 ]; }; then
      say "removing user ‘$name’"
      unset "user_line[$name]" "user_shadow[$name]"
    else
      kept+=("$name")
    fi
  done
  user_order=("${kept[@]}")
}

make_home() { # HOME UID GID MODE
  if [ ! -e "$1" ]; then
    mkdir -p "$1" && chown "$2:$3" "$1" && chmod "$4" "$1"
  elif [ "$(stat -c %u:%a "$1")" != "$2:$4" ]; then
    chown "$2:$3" "$1" && chmod "$4" "$1"
  fi
}

# Sets REPLY to the configuration's hash, or to nothing. Of several, the file's counts.
wanted_hash() { # NAME FILE HASH PASSWORD
  REPLY=
  if [ "$2" != - ]; then
    if [ -e "$2" ]; then
      IFS= read -r REPLY <"$2" || true
    else
      say "warning: password file ‘$2’ does not exist"
    fi
  elif [ "$4" != - ]; then
    REPLY=$(hash_of "$4")
  elif [ "$3" != - ]; then
    REPLY=$3
  fi
}
# Only tests have a password in clear. The hashing program reads it on stdin.
hash_of() { openssl passwd -6 -stdin <<<"$1"; }

set_shadow() { # NAME HASH FRESH EXPIRES
  local now hash=$2 old last least most warn inactive end flag expires=
  now=$((EPOCHSECONDS / 86400))
  if [ "$4" != - ]; then expires=$(($(date -u -d "$4" +%s) / 86400)); fi
  if [ -n "$3" ] || [ -z "${user_shadow[$1]-}" ]; then
    user_shadow[$1]="$1:${hash:-!}:1:::::$expires:"
    return
  fi
  IFS=: read -r _ old last least most warn inactive end flag <<<"${user_shadow[$1]}"
  # With mutable users, the node's password stays.
  if [ -z "$mutable" ]; then
    if [ "$old" != "${hash:-!}" ]; then last=$now; fi
    old=${hash:-!}
  fi
  user_shadow[$1]="$1:$old:$last:$least:$most:$warn:$inactive:${expires:-$end}:$flag"
}

write_accounts() {
  local name result=0
  for name in "${group_order[@]}"; do echo "$name:x:${group_gid[$name]}:${group_members[$name]}"; done |
    write_if_changed 644 root:root /etc/group || result=1
  if [ -e /etc/gshadow ]; then
    for name in "${group_order[@]}"; do echo "$name:!::${group_members[$name]}"; done |
      write_if_changed 640 root:shadow /etc/gshadow || result=1
  fi
  # The password first, so that no account is ever without one.
  for name in "${user_order[@]}"; do printf '%s\n' "${user_shadow[$name]-$name:!:1::::::}"; done |
    write_if_changed 640 root:shadow /etc/shadow || result=1
  for name in "${user_order[@]}"; do printf '%s\n' "${user_line[$name]}"; done |
    write_if_changed 644 root:root /etc/passwd || result=1
  keep_names declarative-users "${!declared_user[@]}" || result=1
  keep_names declarative-groups "${!declared_group[@]}" || result=1
  awk -F '\t' '$3 != "-" { print $1 ":" $3 }' "$top/standin/users/groups" |
    write_if_changed 644 root:root "$state/declarative-members" || result=1
  for name in "${!uid_map[@]}"; do echo "$name:${uid_map[$name]}"; done | sort |
    write_if_changed 644 root:root "$state/uid-map" || result=1
  for name in "${!gid_map[@]}"; do echo "$name:${gid_map[$name]}"; done | sort |
    write_if_changed 644 root:root "$state/gid-map" || result=1
  return "$result"
}
keep_names() { # FILE NAME…
  local file=$1
  shift
  printf '%s\n' "$@" | sort | write_if_changed 644 root:root "$state/$file"
}
write_if_changed() { # MODE OWNER PATH
  local text old=
  IFS= read -r -d '' text
  [ ! -e "$3" ] || IFS= read -r -d '' old <"$3"
  [ "$text" = "$old" ] || printf %s "$text" | write_file "$1" "$2" "$3"
}
