# An operator reaches a real Nomad and a real Consul on three raft servers, whichever of these are up.
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
  };
  operator = import ./nix/operator.nix { inherit lib nixcfg hostPkgs; } roles;
  machines = import ./nix/machines.nix { inherit lib self; } roles;

  job = hostPkgs.writeText "rest.hcl" ''
    job "rest" {
      datacenters = ["test"]
      constraint {
        attribute = "''${attr.unique.hostname}"
        value = "birch"
      }
      group "rest" {
        task "rest" {
          driver = "raw_exec"
          config {
            command = "/run/current-system/sw/bin/sleep"
            args = ["1000000"]
          }
          resources {
            cpu = 50
            memory = 32
          }
        }
      }
    }
  '';
in
{
  name = "tlsproxy";
  nodes =
    lib.mapAttrs (_: machine: {
      imports = [
        machine
        operator.login
        operator.rawExec
      ];
    }) machines
    // {
      desk = operator.machine;
    };

  testScript = ''
    ${operator.scriptWith [ "tlsproxy" ]}
    nodes = [alder, birch, cedar]
    start_all()
    desk.wait_for_unit("multi-user.target")
    prepare(desk, nodes)

    with subtest("one server goes down, as on the lab"):
        tlsproxy.run(Machines(desk, nodes))
        assert scenario.failed == 0, f"{scenario.passed} passed, {scenario.failed} failed"

    with subtest("nomad and consul find their servers inside"):
        desk.wait_until_succeeds(nixcfg("tlsproxy", "-- sh -c 'nomad server members && consul members' | grep birch"))

    with subtest("the error says that no node can be reached"):
        status, said = desk.execute("cd /root/repo && printf 'Host *\n  HostName 127.0.0.1\n  Port 9\n' > closed"
                                    " && nixcfg tlsproxy vm --ssh-config closed 2>&1")
        assert status == 3 and "cannot be reached" in said, said

    with subtest("a session in a task outlives another server"):
        desk.succeed("systemd-run --unit=proxy --setenv=HOME=/root --setenv=PATH=$PATH --working-directory=/root/repo"
                     " nixcfg tlsproxy vm --ssh-config ssh_config")
        desk.wait_until_succeeds("nomad job run ${job}")
        desk.succeed("systemd-run --unit=session --setenv=HOME=/root --setenv=PATH=$PATH --property=StandardOutput=file:/tmp/session"
                     " sh -c 'nomad alloc exec -i=false -t=false -job rest sh -c \"echo one; sleep 30; echo two\"'")
        desk.wait_until_succeeds("grep one /tmp/session")
        cedar.crash()
        desk.wait_until_succeeds("grep two /tmp/session")
        desk.succeed("systemctl kill --signal=INT proxy && while systemctl is-active proxy; do sleep 0.2; done")
        desk.fail("systemctl is-failed proxy")
  '';
}
