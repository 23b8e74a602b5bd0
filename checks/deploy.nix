# deploy-nixos on NixOS: a system that cuts its own network is rolled back, and another kernel is booted. ./deploy.py is also run on the
# lab's nodes.
{
  lib,
  self,
  nixcfg,
}:
let
  machines = import ./nix/machines.nix { inherit lib self; } { alder = "client"; };
  desk = import ./nix/desk.nix { inherit lib; };
in
{
  name = "deploy";

  nodes = {
    alder =
      { extendModules, ... }:
      {
        imports = [ machines.alder ];

        cluster.consul.enable = false;
        cluster.nomad.enable = false;

        # It starts by its own boot loader, from its own store.
        virtualisation = {
          useBootLoader = true;
          useEFIBoot = true;
          writableStore = true;
        };
        boot.loader.systemd-boot.enable = true;
        boot.loader.grub.enable = false;
        boot.loader.timeout = lib.mkForce 0;

        system.build.variants =
          lib.mapAttrs (_: module: (extendModules { modules = [ module ]; }).config.system.build.toplevel)
            {
              first = { };
              mute =
                { pkgs, ... }:
                {
                  boot.kernelPackages = pkgs.linuxPackages_latest;
                  systemd.services.mute = {
                    wantedBy = [ "multi-user.target" ];
                    after = [ "network.target" ];
                    path = [ pkgs.iproute2 ];
                    serviceConfig.Type = "oneshot";
                    serviceConfig.RemainAfterExit = true;
                    script = "ip link set eth1 down";
                    preStop = "ip link set eth1 up";
                  };
                };
              kernel =
                { pkgs, ... }:
                {
                  boot.kernelPackages = pkgs.linuxPackages_latest;
                };
            };
      };

    operator =
      { nodes, pkgs, ... }:
      {
        environment.systemPackages = [
          nixcfg
          pkgs.git
        ];
        # It cannot build systems, so its store has them.
        virtualisation.additionalPaths = lib.attrValues nodes.alder.system.build.variants;
        virtualisation.diskSize = 8192;
        inherit (desk) nix;
      };
  };

  testScript =
    { nodes, ... }:
    let
      systems = lib.mapAttrs (_: toplevel: {
        drvPath = builtins.unsafeDiscardStringContext toplevel.drvPath;
        outPath = builtins.unsafeDiscardStringContext toplevel.outPath;
      }) nodes.alder.system.build.variants;
    in
    ''
      ${builtins.readFile ./deploy.py}
      ${builtins.readFile ./nix/desk.py}

      PASSWORD = "wonderland"
      DATA = ${desk.data { alder = nodes.alder.cluster; }}
      SYSTEMS = json.loads(${builtins.toJSON (builtins.toJSON systems)})
      FLAKE = """
      { outputs = _: let read = file: builtins.fromJSON (builtins.readFile file); in {
        clusters.vm = read ./vm.json;
        nixosConfigurations.vm-alder.config.system.build.toplevel = read ./system.json;
      }; }
      """


      def choose(name):
          put(operator, "/root/cluster/system.json", json.dumps(SYSTEMS[name]))


      def tool(operation, args):
          login = "--login-timeout 200"
          return operator.execute(
              f"cd /root/cluster; SUDO_PASS={PASSWORD} nixcfg {operation} vm {login} {line(*args)} 2>&1"
          )


      class Node:
          """Runs commands over the operator's ssh, as the driver does not notice that a restart has cut its own connection."""

          def execute(self, command):
              root = f"sudo -S -p ''' sh -c {line(command)}"
              login = f"ssh -o BatchMode=yes alice@alder {line(root)}"
              return operator.execute(f"echo {PASSWORD} | {login}")


      # Without this option QEMU exits when a machine restarts.
      alder.start(allow_reboot=True)
      start_all()
      for machine in [alder, operator]:
          machine.wait_for_unit("multi-user.target")

      with subtest("an operator with a key and a password"):
          furnish(operator, [alder], PASSWORD, FLAKE, DATA)
          choose("first")
          status, output = tool("deploy-nixos", ["--mode", "boot", "--reboot"])
          assert status == 0, output

      with subtest("a system that cuts its own network is rolled back, and another kernel is booted"):
          check(Node(), choose, tool, confirm="240")
    '';
}
