# Sets field to the hash of a user in /etc/shadow; fails if there is no such user.
field() {
  field=$(getent shadow "$1") || return 1
  field=${field#*:}
  field=${field%%:*}
}
