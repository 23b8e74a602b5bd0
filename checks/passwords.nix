# deploy-passwords on NixOS, with mutable users (alder) and immutable ones (birch). ./passwords.py is also run on the lab's nodes.
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
  desk = import ./nix/desk.nix { inherit lib; };

  # Other tests have Consul and Nomad.
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
        inherit (desk) nix;
      };
  };

  testScript =
    { nodes, ... }:
    let
      ofNode = lib.mapAttrs (_: machine: machine.cluster) { inherit (nodes) alder birch; };
    in
    ''
      ${builtins.readFile ./passwords.py}
      ${builtins.readFile ./nix/desk.py}

      OLD, NEW = "wonderland", "looking-glass house of cards"
      DATA = ${desk.data ofNode}
      FLAKE = "{ outputs = _: { clusters.vm = builtins.fromJSON (builtins.readFile ./vm.json); }; }"
      machines = [alder, birch]


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


      # Without this option QEMU exits when a machine restarts.
      for machine in machines:
          machine.start(allow_reboot=True)
      start_all()
      for machine in [*machines, operator]:
          machine.wait_for_unit("multi-user.target")

      with subtest("an operator with a key, a store and a password"):
          furnish(operator, machines, OLD, FLAKE, DATA)
          operator.succeed(
              "gpg --batch --passphrase ''' --quick-generate-key operator future-default default never",
              "pass init operator",
          )

      with subtest("a new password is in force on every node, also after a restart"):
          check([Node(machine) for machine in machines], tool, OLD, NEW)
    '';
}
