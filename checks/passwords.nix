# deploy-passwords on NixOS itself, with mutable (alder) and immutable users (birch): ./passwords.py, as on the lab.
{
  lib,
  self,
  nixcfg,
}:
let
  machines = import ./nix/machines.nix { inherit lib self; } {
    alder = "server";
    birch = "client";
  };

  # Passwords alone: what else the nodes do is another test's.
  node = {
    cluster.consul.enable = false;
    cluster.nomad.enable = false;
  };
in
{
  name = "passwords";

  nodes = {
    alder.imports = [
      machines.alder
      node
    ];
    birch.imports = [
      machines.birch
      node
      { cluster.mutableUsers = false; }
    ];

    operator =
      { pkgs, ... }:
      {
        environment.systemPackages = [
          nixcfg
          pkgs.git
          pkgs.gnupg
          pkgs.pass
        ];
        nix.settings = {
          experimental-features = [
            "nix-command"
            "flakes"
          ];
          substituters = lib.mkForce [ ];
          flake-registry = "";
        };
      };
  };

  testScript =
    { nodes, ... }:
    let
      ofNode = lib.mapAttrs (_: machine: machine.cluster) { inherit (nodes) alder birch; };

      # What the tool reads; made here, because the machines have no nixpkgs to evaluate with.
      data = import ../nix/lib/data.nix {
        inherit lib ofNode;
        name = "vm";
        whole = ofNode.alder;
        inherit (ofNode.alder) sites nodes;
        ofSite = { };
      };
    in
    ''
      ${builtins.readFile ./passwords.py}

      OLD, NEW = "wonderland", "looking-glass house of cards"
      DATA = ${builtins.toJSON (builtins.toJSON data)}
      FLAKE = "{ outputs = _: { clusters.vm = builtins.fromJSON (builtins.readFile ./vm.json); }; }"
      machines = [alder, birch]


      def put(machine, file, text):
          machine.succeed(f"mkdir -p $(dirname {file}); printf '%s\\n' {shlex.quote(text)} >{file}")


      def tool(operation, args, password, line):
          given = "" if password is None else f"SUDO_PASS={shlex.quote(password)} "
          login = [] if operation == "passwd" else ["--login-timeout", "300"]
          words = " ".join(shlex.quote(word) for word in [*login, *args])
          return operator.execute(
              f"cd /root/cluster; printf '%s\\n' {shlex.quote(line or ''')} |"
              f" {given}nixcfg {operation} vm {words} 2>&1"
          )


      class Node:
          def __init__(self, machine):
              self.machine, self.name, self.execute = machine, machine.name, machine.execute

          def reboot(self):
              self.machine.reboot()
              self.machine.wait_for_unit("multi-user.target")
              self.machine.wait_for_open_port(22)


      # Without it QEMU ends where a machine restarts.
      for machine in machines:
          machine.start(allow_reboot=True)
      start_all()
      for machine in [*machines, operator]:
          machine.wait_for_unit("multi-user.target")

      with subtest("an operator with a key, a store and a password"):
          operator.succeed("mkdir -p /root/.ssh; ssh-keygen -q -t ed25519 -N ''' -f /root/.ssh/id_ed25519")
          key = operator.succeed("cat /root/.ssh/id_ed25519.pub").strip()
          for machine in machines:
              put(machine, "/home/alice/.ssh/authorized_keys", key)
              machine.succeed("chown -R alice /home/alice/.ssh; chmod -R go= /home/alice/.ssh")
              machine.succeed(f"echo alice:{OLD} | chpasswd")
              machine.wait_for_open_port(22)
          operator.succeed("ssh-keyscan -T 60 alder birch >/root/.ssh/known_hosts")
          put(operator, "/root/cluster/flake.nix", FLAKE)
          put(operator, "/root/cluster/vm.json", DATA)
          put(operator, "/root/cluster/cluster/vm/ssh_config", "Host *\n  User alice")
          operator.succeed(
              "gpg --batch --passphrase ''' --quick-generate-key operator future-default default never",
              "pass init operator",
          )

      with subtest("a password changes everywhere, for good, and nowhere else than it should"):
          check([Node(machine) for machine in machines], tool, OLD, NEW)
    '';
}
