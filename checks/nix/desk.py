# Follows a script that imports shlex.


def put(machine, file, text):
    machine.succeed(f"mkdir -p $(dirname {file}); printf '%s\\n' {shlex.quote(text)} >{file}")


def furnish(operator, nodes, password, flake, data):
    """Gives the operator a key and a password for alice's account on the nodes, and a flake with the cluster's data."""
    operator.succeed("mkdir -p /root/.ssh; ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519")
    key = operator.succeed("cat /root/.ssh/id_ed25519.pub").strip()
    for node in nodes:
        put(node, "/home/alice/.ssh/authorized_keys", key)
        node.succeed("chown -R alice /home/alice/.ssh; chmod -R go= /home/alice/.ssh")
        node.succeed(f"echo alice:{password} | chpasswd")
        node.wait_for_open_port(22)
    names = " ".join(node.name for node in nodes)
    operator.succeed(f"ssh-keyscan -T 60 {names} >/root/.ssh/known_hosts")
    put(operator, "/root/cluster/flake.nix", flake)
    put(operator, "/root/cluster/vm.json", data)
    put(operator, "/root/cluster/cluster/vm/ssh_config", "Host *\n  User alice")
