# The life of a PKI on NixOS, with the Consul and Nomad of nixpkgs. ./pki/scenario.py is also run on the lab's nodes.
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

  # ./pki/asker.py asks these ports from the operator's machine, which is no node. The intruder of the scenario serves on 28501.
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
      # The test network numbers machines in the order of their names, so this one comes after the nodes.
      office = operator.machine;
    };

  testScript = ''
    ${operator.script}
    start_all()
    office.wait_for_unit("multi-user.target")
    nodes = [alder, birch, cedar, dogwood]
    for node in nodes:
        node.wait_for_unit("multi-user.target")
        node.succeed("echo alice:wonderland | chpasswd")
    operate(office, nodes)
    gossip(nodes)
    scenario.run(Machines(office, nodes))
    assert scenario.failed == 0, f"{scenario.passed} passed, {scenario.failed} failed"
  '';
}
