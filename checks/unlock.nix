# Remote unlock: two nodes with an encrypted root, one with scripts in stage 1, one with systemd, get their passphrase by SSH, as
# doc/installing.md has it.
{ lib, self, ... }:
{ hostPkgs, ... }:
let
  # Interpolation would copy all of nixpkgs into the store.
  keys = import (hostPkgs.path + "/nixos/tests/ssh-keys.nix") hostPkgs;
  machines = import ./nix/machines.nix { inherit lib self; } {
    alder = "client";
    birch = "client";
  };
  # The encrypted disk, and the file system in it.
  disk = "6e2c1b1e-7c3a-4f0e-9f0b-0d6a4f5c2a11";
  root = "0f3cf4c8-53a5-4f1b-8a52-4b0c3ad2e7d6";

  node =
    { config, ... }:
    {
      cluster = {
        # Other tests have Consul and Nomad.
        consul.enable = false;
        nomad.enable = false;
        admins.alice.keys = [ keys.snakeOilPublicKey ];
        sites.test.gateway.ipv4 = "192.168.1.254";
        nodes = {
          alder.interface = "eth1";
          birch.interface = "eth1";
        };
        remoteUnlock.enable = true;
      };

      # In place of the test's own disk.
      boot.initrd.luks.devices = lib.mkVMOverride { root.device = "/dev/disk/by-uuid/${disk}"; };
      virtualisation = {
        # As nixos-generate-config writes it.
        rootDevice = "/dev/disk/by-uuid/${root}";
        qemu.drives = [
          {
            name = "encrypted";
            file = ''"$SHARED_DIR"/${config.networking.hostName}.disk'';
            driveExtraOpts.format = "raw";
          }
        ];
        # As a boot loader has it: with the host key.
        directBoot.initrd = ''"$SHARED_DIR"/${config.networking.hostName}.initrd'';
      };
      boot.loader.supportsInitrdSecrets = lib.mkOverride 5 true;
    };
in
{
  name = "unlock";

  nodes = {
    alder.imports = [
      machines.alder
      node
      { boot.initrd.systemd.enable = false; }
    ];
    birch.imports = [
      machines.birch
      node
      { boot.initrd.systemd.enable = true; }
    ];

    desk =
      { nodes, pkgs, ... }:
      {
        environment.systemPackages = [
          pkgs.cryptsetup
          pkgs.e2fsprogs
          pkgs.python3
        ];
        # A node's boot loader has this program.
        system.extraDependencies = map (node: node.system.build.initialRamdiskSecretAppender) [
          nodes.alder
          nodes.birch
        ];
        # cryptsetup waits for its rules of udev.
        services.lvm.enable = true;
      };
  };

  testScript =
    { nodes, ... }:
    let
      initrds = lib.mapAttrs (_: node: {
        file = "${node.system.build.initialRamdisk}/initrd";
        append = "${node.system.build.initialRamdiskSecretAppender}/bin/append-initrd-secrets";
      }) { inherit (nodes) alder birch; };
    in
    ''
      import json
      import shlex

      INITRDS = json.loads(${builtins.toJSON (builtins.toJSON initrds)})
      ADDRESSES = {"alder": "192.168.1.1", "birch": "192.168.1.2"}
      KEY = "/var/lib/nixcfg/initrd/ssh_host_ed25519_key"
      RIGHT, WRONG = "curiouser and curiouser", "looking-glass"


      def dialogue(command, *steps):
          """Types each line after its text, at a terminal of the desk. Returns what the command printed."""
          asked = shlex.quote(json.dumps({"command": command.split(), "steps": steps}))
          status, said = desk.execute(f"printf %s {asked} | python3 ${./unlock.py} 2>&1", timeout=None)
          assert status != 99, said
          return said


      def waits(node):
          """Starts a node, which then waits for its passphrase."""
          node.start()
          desk.wait_for_open_port(2222, ADDRESSES[node.name], timeout=3600)


      def runs(node):
          node.wait_for_unit("multi-user.target")
          node.succeed("grep -x root /sys/dev/block/$(findmnt --noheadings --output MAJ:MIN / | tr -d ' ')/dm/name")
          node.succeed("test -z \"$(systemctl --failed --no-legend)\"")
          desk.wait_for_open_port(22, ADDRESSES[node.name])
          node.fail("ss --listening --tcp --numeric | grep :2222")


      desk.wait_for_unit("multi-user.target")

      with subtest("an initrd gets the host key, without which it cannot be installed"):
          for name, initrd in INITRDS.items():
              desk.copy_from_host(initrd["file"], f"/tmp/shared/{name}.initrd")
          desk.fail(f"{INITRDS['alder']['append']} /tmp/shared/alder.initrd")
          desk.succeed(f"mkdir -p $(dirname {KEY}); ssh-keygen -q -t ed25519 -N ''' -f {KEY}")
          for name, initrd in INITRDS.items():
              desk.succeed(f"{initrd['append']} /tmp/shared/{name}.initrd")

      with subtest("an operator has a key, and the nodes' host key"):
          desk.succeed("install -D -m 600 ${keys.snakeOilPrivateKey} /root/.ssh/id_ecdsa")
          for address in ADDRESSES.values():
              desk.succeed(f"echo \"[{address}]:2222 $(cut -d ' ' -f 1,2 {KEY}.pub)\" >>/root/.ssh/known_hosts")

      with subtest("each node has an encrypted disk"):
          passphrase = f"printf %s {shlex.quote(RIGHT)} | cryptsetup --key-file=-"
          cheap = "--pbkdf pbkdf2 --pbkdf-force-iterations 1000"
          desk.succeed(
              "truncate -s 256M /root/disk",
              f"{passphrase} --batch-mode luksFormat --uuid ${disk} {cheap} /root/disk",
              f"{passphrase} luksOpen /root/disk made",
              "mkfs.ext4 -q -U ${root} /dev/mapper/made",
              "cryptsetup luksClose made",
          )
          for name in ADDRESSES:
              desk.succeed(f"cp --sparse=always /root/disk /tmp/shared/{name}.disk")

      with subtest("scripts in stage 1 ask by cryptsetup-askpass, again after a wrong passphrase"):
          waits(alder)
          dialogue(
              "ssh -p 2222 root@192.168.1.1",
              ["# ", "cryptsetup-askpass"],
              ["Passphrase for", WRONG],
              ["Passphrase for", RIGHT],
          )
          runs(alder)
          alder.crash()

      with subtest("systemd in stage 1 waits for the passphrase without an end"):
          waits(birch)
          desk.succeed(
              "ssh -p 2222 root@192.168.1.2 systemctl show --property=JobRunningTimeoutUSec /dev/disk/by-uuid/${root}"
              " | grep -x JobRunningTimeoutUSec=infinity"
          )

      with subtest("its agent asks, and leaves the operator in the shell"):
          dialogue(
              "ssh -p 2222 root@192.168.1.2",
              ["# ", "systemd-tty-ask-password-agent"],
              ["passphrase for disk root", WRONG],
              ["# ", "exit"],
          )

      with subtest("systemctl default asks until the passphrase is right"):
          # systemd by itself gives up at the third.
          dialogue(
              "ssh -p 2222 -t root@192.168.1.2 systemctl default",
              ["passphrase for disk root", WRONG],
              ["passphrase for disk root", WRONG],
              ["passphrase for disk root", WRONG],
              ["passphrase for disk root", RIGHT],
          )
          runs(birch)
    '';
}
