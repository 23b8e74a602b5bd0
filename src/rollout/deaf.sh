# Whether no server takes a connection at ADDRESS, a host and port. Nomad notices the loss of one after 40 seconds. Nothing is
# sent, as a server would log what is not its protocol. Only bash connects so; curl stays for its whole limit.
is_deaf() { # ADDRESS
  host=${1%:*} host=${host#\[}
  ! timeout 3 bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "${host%]}" "${1##*:}" 2>/dev/null
}
