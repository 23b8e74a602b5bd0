# An operator's machine for tests in virtual machines: the tool, a flake that describes the nodes of machines.nix, a password store,
# and an ssh key for alice's account on the nodes.
{
  lib,
  nixcfg,
  hostPkgs,
}:
roles:
let
  # Interpolation would copy all of nixpkgs into the store, which Nix 2.34 refuses to an evaluation that must not build.
  keys = import (hostPkgs.path + "/nixos/tests/ssh-keys.nix") hostPkgs;

  addresses = lib.listToAttrs (
    lib.imap1 (number: name: lib.nameValuePair name "192.168.1.${toString number}") (
      lib.attrNames roles
    )
  );

  files = app: owner: {
    directory = "/var/lib/${app}/pki";
    inherit owner;
    group = owner;
    unit = "${app}.service";
  };

  data = {
    schema = 1;
    name = "vm";
    domain = "vm.example.org";
    secretsPrefix = "example";
    mutableUsers = true;
    nodes = lib.mapAttrs (name: role: {
      inherit role;
      site = "test";
      system = hostPkgs.stdenv.hostPlatform.system;
      configuration = "vm-${name}";
      address = {
        ipv4 = addresses.${name};
        ipv6 = null;
      };
    }) roles;
    pki = {
      perNode = false;
      consul = files "consul" "consul";
      nomad = files "nomad" "root";
    };
    consul = {
      enable = true;
      datacenter = "vm";
      domain = "consul";
      httpsPort = 8501;
    };
    nomad = {
      enable = true;
      region = "vm";
      httpPort = 4646;
    };
  };

  scripts = builtins.path {
    name = "scripts";
    path = ../.;
    filter =
      path: _:
      lib.elem (baseNameOf path) [
        "pki"
        "asker.py"
        "scenario.py"
        "tlsproxy.py"
      ];
  };

  flake = hostPkgs.writeText "flake.nix" ''
    { outputs = _: { clusters.vm = builtins.fromJSON (builtins.readFile ./vm.json); }; }
  '';
in
rec {
  # The operator's login on every node.
  login.cluster.admins.alice.keys = [ keys.snakeOilPublicKey ];

  # Tasks run without containers, as a test has no registry of images.
  rawExec.services.nomad.settings.plugin = [
    { raw_exec = [ { config = [ { enabled = true; } ]; } ]; }
  ];

  machine =
    { pkgs, ... }:
    {
      environment.systemPackages = [
        nixcfg
        pkgs.consul
        pkgs.curl
        pkgs.gnupg
        pkgs.jq
        pkgs.nomad
        pkgs.openssl
        pkgs.pass
        pkgs.python3
      ];
      environment.etc."asker.py".source = "${scripts}/pki/asker.py";
      # tlsproxy itself must keep others from its ports.
      networking.firewall.enable = false;
      inherit (import ./desk.nix { inherit lib; }) nix;
      virtualisation.memorySize = 1536;
    };

  # `operate` makes desk an operator's machine, and `gossip` gives nodes the gossip keys. `prepare` does both, and gives every node its
  # certificates from pass. `Machines` is the driver of ../pki/scenario.py.
  script = scriptWith [ ];

  # The same with more of the modules in `scripts`.
  scriptWith = modules: ''
    import base64
    import os
    import shlex
    import sys
    from typing import ClassVar

    sys.path += ["${scripts}", "${scripts}/pki"]
    import scenario  # type: ignore
    ${lib.concatMapStrings (module: "import ${module}  # type: ignore\n") modules}

    class Machines:
        cluster, folder, asker = "vm", "/root/work", "/etc/asker.py"
        nomad_pki = "/var/lib/nomad/pki"
        roles: ClassVar = ${builtins.toJSON roles}
        addresses: ClassVar = ${builtins.toJSON addresses}
        servers: ClassVar = [name for name, role in roles.items() if role == "server"]
        clients: ClassVar = [name for name, role in roles.items() if role == "client"]
        nodes: ClassVar = [*roles]

        def __init__(self, desk, nodes):
            self.machine, self.of = desk, {node.name: node for node in nodes}
            self.desk_address, self.offset = desk.name, 0
            desk.succeed("mkdir -m 700 /root/work")

        def desk(self, script):
            # The driver's shell has `pipefail` on, the lab's has not.
            return self.machine.execute(f"set +euo pipefail; export SUDO_PASS=wonderland; cd /root/repo; {script}")

        def command(self, operation, *argv):
            login = ["--ssh-config", "ssh_config", "--login-timeout", "300"]
            return ["nixcfg", operation, "vm", *argv, "--json", *login]

        def root(self, node, script):
            status, told = self.of[node].execute(f"set +euo pipefail; {script}")
            if status != 0:
                raise scenario.Failed(f"{node}: {script}: {status}\n{told}")
            return told

        def fault(self, node, what):
            machine = self.of[node]
            if what == "fill-disk":
                machine.succeed("fallocate -l $(df --output=avail -B1 /var/lib | tail -n 1) /var/lib/full")
                machine.execute("dd if=/dev/zero of=/var/lib/fuller bs=1M; dd if=/dev/zero of=/var/lib/fullest bs=1k; sync")
            elif what == "free-disk":
                machine.succeed("rm /var/lib/full /var/lib/fuller /var/lib/fullest")
            elif what == "kill":
                machine.crash()
            else:
                machine.start()
                machine.wait_for_unit("multi-user.target")
                machine.wait_for_open_port(22)

    scenario.patience = 20

    def operate(desk, nodes):
        desk.succeed("mkdir -p /root/repo /root/.ssh && cp ${flake} /root/repo/flake.nix")
        desk.succeed("cp ${hostPkgs.writeText "vm.json" (builtins.toJSON data)} /root/repo/vm.json")
        desk.succeed("install -m 0600 ${keys.snakeOilPrivateKey} /root/.ssh/id")
        desk.succeed("gpg --batch --pinentry-mode loopback --passphrase ''' --quick-generate-key tester future-default default never")
        desk.succeed("pass init tester")
        for node in nodes:
            node.wait_for_unit("sshd")
            address = node.succeed("ip -4 -o addr show eth1").split()[3].split("/")[0]
            desk.succeed(f"printf 'Host {node.name}\n  HostName {address}\n' >> /root/repo/ssh_config")
            desk.succeed(f"ssh-keyscan -T 60 {address} >> /root/.ssh/known_hosts")
        desk.succeed("printf 'Host *\n  User alice\n  IdentityFile /root/.ssh/id\n' >> /root/repo/ssh_config")

    def gossip(nodes):
        for name in ["consul-gossip", "nomad-gossip"]:
            key = base64.b64encode(os.urandom(32)).decode()
            for node in nodes:
                node.succeed(f"printf %s {shlex.quote(key)} | install -D -m 0400 /dev/stdin /var/lib/nixcfg/secrets/{name}")

    def prepare(desk, nodes):
        operate(desk, nodes)
        desk.succeed("cd /root/repo && nixcfg gen-pki vm")
        gossip(nodes)
        year = desk.succeed("date -u +%Y").strip()
        for node in nodes:
            def install(entry, file, owner, node=node):
                text = desk.succeed(f"pass show example/cluster/vm/{entry}")
                node.succeed(f"printf %s {shlex.quote(text)} | install -D -o {owner} -m 0600 /dev/stdin {file}")

            for app, owner in [("nomad", "root"), ("consul", "consul")]:
                folder = f"/var/lib/{app}/pki"
                install(f"{app}-ca.crt", f"{folder}/{app}-ca.crt", owner)
                if app == "nomad":
                    install("consul-ca.crt", f"{folder}/consul-ca.crt", owner)
                    for kind in ["crt", "key"]:
                        install(f"consul{year}-client.{kind}", f"{folder}/consul-client.{kind}", owner)
                for kind in ["crt", "key"]:
                    install(f"{app}{year}.{kind}", f"{folder}/{app}.{kind}", owner)
        for node in nodes:
            node.wait_for_unit("consul")
            node.wait_for_unit("nomad")

    def nixcfg(operation, rest=""):
        return f"cd /root/repo && nixcfg {operation} vm --ssh-config ssh_config --login-timeout 300 {rest}"
  '';
}
