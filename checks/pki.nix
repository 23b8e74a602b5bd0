# The life of a PKI on NixOS, with the Consul and Nomad of nixpkgs: ./pki/scenario.py, as on the lab.
{
  lib,
  self,
  nixcfg,
}:
{ hostPkgs, ... }:
let
  roles = {
    alder = "server";
    birch = "server";
    cedar = "server";
    dogwood = "client";
  };
  operator = import ./nix/operator.nix { inherit lib nixcfg hostPkgs; } roles;
  machines = import ./nix/machines.nix { inherit lib self; } roles;

  # The client that asks all the time, and asks the agents that should not be, is on the operator's machine, which is no node.
  asked.networking.firewall.allowedTCPPorts = [
    4646
    8501
    28501
  ];
in
{
  name = "pki";

  nodes =
    lib.mapAttrs (_: machine: {
      imports = [
        machine
        operator.login
        asked
      ];
    }) machines
    // {
      # Its name comes after the nodes': the test network numbers all machines by their names.
      office = {
        imports = [ operator.machine ];
        environment = {
          systemPackages = [ hostPkgs.python3 ];
          etc."asker.py".source = ./pki/asker.py;
        };
      };
    };

  testScript = ''
    import sys

    sys.path.insert(0, "${./pki}")
    import scenario  # type: ignore

    ${operator.script}

    class Machines:
        cluster, folder, asker = "vm", "/root/work", "/etc/asker.py"
        nomad_pki = "/var/lib/nomad/pki"
        servers, clients = ["alder", "birch", "cedar"], ["dogwood"]
        nodes = ["alder", "birch", "cedar", "dogwood"]
        addresses = {name: f"192.168.1.{number}" for number, name in enumerate(nodes, 1)}
        of = {"alder": alder, "birch": birch, "cedar": cedar, "dogwood": dogwood}

        def desk(self, script):
            # The prologue of the driver makes pipes fail where the lab's shell does not.
            return office.execute(f"set +euo pipefail; export SUDO_PASS=wonderland; cd /root/repo; {script}")

        def command(self, operation, *argv):
            return ["nixcfg", operation, "vm", *argv, "--json", "--ssh-config", "ssh_config"]

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


    start_all()
    office.wait_for_unit("multi-user.target")
    nodes = [alder, birch, cedar, dogwood]
    for node in nodes:
        node.wait_for_unit("multi-user.target")
        node.succeed("echo alice:wonderland | chpasswd")
    operate(office, nodes)
    office.succeed("mkdir -m 700 /root/work")
    gossip(nodes)
    scenario.run(Machines())
    assert scenario.failed == 0, f"{scenario.passed} passed, {scenario.failed} failed"
  '';
}
