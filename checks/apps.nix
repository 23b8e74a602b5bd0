# The scheduler's settings, the secrets of an app and its job, on a real Nomad and a real Consul.
{
  lib,
  self,
  nixcfg,
}:
{ hostPkgs, ... }:
let
  roles.alder = "server";
  operator = import ./nix/operator.nix { inherit lib nixcfg hostPkgs; } roles;
  machines = import ./nix/machines.nix { inherit lib self; } roles;

  job = hostPkgs.writeText "web.hcl" ''
    job "web" {
      datacenters = ["test"]
      group "web" {
        update {
          min_healthy_time = "1s"
          progress_deadline = "1m"
          healthy_deadline = "30s"
        }
        restart {
          attempts = 0
          mode = "fail"
        }
        reschedule {
          attempts = 0
          unlimited = false
        }
        task "web" {
          driver = "raw_exec"
          config {
            command = "/run/current-system/sw/bin/sh"
            args = ["-c", file("../config/run.sh")]
          }
          template {
            data = "{{ key \"secrets/web/token\" }}"
            destination = "secrets/token"
          }
          resources {
            cpu = 50
            memory = 32
          }
        }
      }
    }
  '';

  secrets = hostPkgs.writeText "secrets.toml" ''
    [secrets."web/token"]
    type = "random"
  '';
in
{
  name = "apps";
  nodes = {
    alder.imports = [
      machines.alder
      operator.login
      operator.rawExec
    ];
    desk = operator.machine;
  };

  testScript = ''
    ${operator.script}
    start_all()
    desk.wait_for_unit("multi-user.target")
    prepare(desk, [alder])
    desk.wait_until_succeeds(nixcfg("tlsproxy", "-- nomad node status | grep ready"))
    app = "/root/repo/cluster/vm/app/web"
    desk.succeed(f"mkdir -p {app}/deploy {app}/config && cp ${job} {app}/deploy/web.hcl && cp ${secrets} {app}/secrets.toml")

    def run(script):
        desk.succeed(f"printf %s {shlex.quote(script)} > {app}/config/run.sh")

    def exits(code, command):
        status, said = desk.execute(f"{command} 2>&1")
        assert status == code, f"{command} ended with {status}, not {code}: {said}"
        return said

    with subtest("the scheduler is set once"):
        exits(5, nixcfg("nomad-scheduler", "--check"))
        exits(0, nixcfg("nomad-scheduler"))
        assert "as wanted already" in exits(0, nixcfg("nomad-scheduler", "--check"))

    with subtest("secrets are made once"):
        exits(5, nixcfg("app-secrets", "web --check"))
        exits(0, nixcfg("app-secrets", "web"))
        exits(0, nixcfg("app-secrets", "web --check"))

    with subtest("a job runs, and is left alone while it does not change"):
        run("test -s secrets/token; exec sleep 1000000")
        assert "+ Job" in exits(0, nixcfg("deploy-apps", "--plan"))
        assert "healthy" in exits(0, nixcfg("deploy-apps"))
        assert "unchanged" in exits(0, nixcfg("deploy-apps"))

    with subtest("a job that fails says why"):
        run("echo no such bucket >&2; exit 3")
        assert "no such bucket" in exits(5, nixcfg("deploy-apps"))

    with subtest("a mistake changes nothing"):
        desk.succeed(f"echo '}}' >> {app}/deploy/web.hcl")
        assert "is not a job" in exits(2, nixcfg("deploy-apps"))
  '';
}
