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

  # Tasks without containers: no image can be fetched here.
  rawExec.services.nomad.settings.plugin = [
    { raw_exec = [ { config = [ { enabled = true; } ]; } ]; }
  ];

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
        rawExec
      ];
    }) machines
    // {
      desk = operator.machine;
    };

  testScript = ''
    ${operator.script}
    nodes = [alder, birch, cedar]
    start_all()
    desk.wait_for_unit("multi-user.target")
    prepare(desk, nodes)
    api = "curl --silent --fail http://localhost"

    def background(unit, command):
        desk.succeed(f"systemd-run --unit={unit} --setenv=HOME=/root --setenv=PATH=$PATH --working-directory=/root/repo"
                     f" --property=StandardOutput=file:/tmp/{unit} {command}")

    with subtest("a command inside finds both services, and its exit code is the proxy's"):
        desk.wait_until_succeeds(nixcfg("tlsproxy", "-- sh -c 'nomad server members && consul members' | grep birch"))
        status, _ = desk.execute(nixcfg("tlsproxy", "-- sh -c 'exit 7'"))
        assert status == 7, status

    with subtest("where no node can be reached, that is the error"):
        status, said = desk.execute("cd /root/repo && printf 'Host *\n  HostName 127.0.0.1\n  Port 9\n' > closed"
                                    " && nixcfg tlsproxy vm --ssh-config closed 2>&1")
        assert status == 3 and "cannot be reached" in said, said

    with subtest("plain HTTP on loopback alone, and nothing for other origins"):
        background("proxy", "nixcfg tlsproxy vm --ssh-config ssh_config")
        desk.wait_until_succeeds(f"{api}:4646/v1/status/leader | grep 4647")
        desk.succeed(f"{api}:8500/v1/status/leader | grep 8300")
        desk.succeed("test $(curl -s -o /dev/null -w '%{http_code}' -H 'Origin: http://evil.example' localhost:4646/v1/jobs) = 403")
        alder.fail("curl -s --max-time 5 http://desk:4646/v1/status/leader")

    with subtest("a session in a task outlives another server"):
        desk.succeed("nomad job run ${job}")
        background("session", "sh -c 'nomad alloc exec -i=false -t=false -job rest sh -c \"echo one; sleep 30; echo two\"'")
        desk.wait_until_succeeds("grep one /tmp/session")
        cedar.crash()
        desk.wait_until_succeeds("grep two /tmp/session")
        cedar.start()
        cedar.wait_for_unit("consul")
        cedar.wait_for_unit("nomad")
        desk.wait_until_succeeds("test $(consul members | grep -c ' alive ') = 3")
        desk.wait_until_succeeds("test $(nomad server members | grep -c ' alive ') = 3")
        desk.wait_until_succeeds(f"{api}:8500/v1/operator/autopilot/health | jq -e .Healthy")

    with subtest("a query that waits for news goes on through the next server when one goes down"):
        desk.succeed("consul kv put news old")
        index = desk.succeed(f"{api}:8500/v1/kv/news | jq '.[0].ModifyIndex'").strip()
        background("poll", f"{api}:8500/v1/kv/news?index={index}'&wait=9m'")
        alder.crash()
        desk.wait_until_succeeds(f"{api}:4646/v1/status/leader | grep 4647")
        desk.succeed(f"{api}:8500/v1/agent/self | jq -e '.Config.NodeName != \"alder\"'")
        desk.fail("test -s /tmp/poll")
        desk.wait_until_succeeds("consul kv put news new")
        desk.wait_until_succeeds("grep bmV3 /tmp/poll")

    with subtest("it ends cleanly"):
        desk.succeed("systemctl kill --signal=INT proxy && while systemctl is-active proxy; do sleep 0.2; done")
        desk.fail("systemctl is-failed proxy")
        desk.fail("curl -s http://localhost:4646/")
  '';
}
