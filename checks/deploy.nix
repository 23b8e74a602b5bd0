# deploy-nixos on NixOS itself: a system that cuts its own network is taken back, another kernel is booted: ./deploy.py, as on the lab.
{
  lib,
  self,
  nixcfg,
}:
let
  machines = import ./nix/machines.nix { inherit lib self; } { alder = "client"; };
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

        # It starts by a bootloader of its own, from a store of its own.
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
        # Nothing can be evaluated or built there: the systems are in its store.
        virtualisation.additionalPaths = lib.attrValues nodes.alder.system.build.variants;
        virtualisation.diskSize = 8192;
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
      ofNode.alder = nodes.alder.cluster;

      # What the tool reads; made here, because the machines have no nixpkgs to evaluate with.
      data = import ../nix/lib/data.nix {
        inherit lib ofNode;
        name = "vm";
        whole = ofNode.alder;
        inherit (ofNode.alder) sites nodes;
        ofSite = { };
      };
      systems = lib.mapAttrs (_: toplevel: {
        drvPath = builtins.unsafeDiscardStringContext toplevel.drvPath;
        outPath = builtins.unsafeDiscardStringContext toplevel.outPath;
      }) nodes.alder.system.build.variants;
    in
    ''
      ${builtins.readFile ./deploy.py}

      PASSWORD = "wonderland"
      DATA = ${builtins.toJSON (builtins.toJSON data)}
      SYSTEMS = json.loads(${builtins.toJSON (builtins.toJSON systems)})
      FLAKE = """
      { outputs = _: let read = file: builtins.fromJSON (builtins.readFile file); in {
        clusters.vm = read ./vm.json;
        nixosConfigurations.vm-alder.config.system.build.toplevel = read ./system.json;
      }; }
      """


      def put(machine, file, text):
          machine.succeed(f"mkdir -p $(dirname {file}); printf '%s\\n' {line(text)} >{file}")


      def choose(name):
          put(operator, "/root/cluster/system.json", json.dumps(SYSTEMS[name]))


      def tool(operation, args):
          login = "--login-timeout 200"
          return operator.execute(
              f"cd /root/cluster; SUDO_PASS={PASSWORD} nixcfg {operation} vm {login} {line(*args)} 2>&1"
          )


      class Node:
          """Commands go as the operator's do: a restart that the machine decided on itself cuts the driver's own line unnoticed."""

          def execute(self, command):
              root = f"sudo -S -p ''' sh -c {line(command)}"
              login = f"ssh -o BatchMode=yes alice@alder {line(root)}"
              return operator.execute(f"echo {PASSWORD} | {login}")


      # Without it QEMU ends where a machine restarts.
      alder.start(allow_reboot=True)
      start_all()
      for machine in [alder, operator]:
          machine.wait_for_unit("multi-user.target")

      with subtest("an operator with a key and a password"):
          operator.succeed("mkdir -p /root/.ssh; ssh-keygen -q -t ed25519 -N ''' -f /root/.ssh/id_ed25519")
          key = operator.succeed("cat /root/.ssh/id_ed25519.pub").strip()
          put(alder, "/home/alice/.ssh/authorized_keys", key)
          alder.succeed("chown -R alice /home/alice/.ssh; chmod -R go= /home/alice/.ssh")
          alder.succeed(f"echo alice:{PASSWORD} | chpasswd")
          alder.wait_for_open_port(22)
          operator.succeed("ssh-keyscan -T 60 alder >/root/.ssh/known_hosts")
          put(operator, "/root/cluster/flake.nix", FLAKE)
          put(operator, "/root/cluster/vm.json", DATA)
          put(operator, "/root/cluster/cluster/vm/ssh_config", "Host *\n  User alice")
          choose("first")
          status, output = tool("deploy-nixos", ["--mode", "boot", "--reboot"])
          assert status == 0, output

      with subtest("a system that cuts its own network is taken back, and another kernel is booted"):
          check(Node(), choose, tool, confirm="240")
    '';
}
