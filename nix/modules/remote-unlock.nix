# Lets administrators give the passphrases of encrypted disks by SSH while the node starts.
{ config, lib, ... }:
let
  inherit (config) cluster;
  cfg = cluster.remoteUnlock;
  node = cluster.nodes.${cluster.nodeName};
  site = cluster.sites.${node.site};

  # 24 → 255.255.255.0
  netmask =
    length:
    let
      powers = [
        1
        2
        4
        8
        16
        32
        64
        128
        256
      ];
      octet =
        index:
        let
          bits = lib.max 0 (lib.min 8 (length - 8 * index));
        in
        256 - lib.elemAt powers (8 - bits);
    in
    lib.concatMapStringsSep "." (index: toString (octet index)) (lib.range 0 3);

  gateway = if site.gateway.ipv4 == null then "" else site.gateway.ipv4;
in
{
  # systemd in stage 1 gives up on a disk after three wrong passphrases, and tells nobody who waits there.
  options.boot.initrd.luks.devices = lib.mkOption {
    type = lib.types.attrsOf (
      lib.types.submodule { config.crypttabExtraOpts = lib.mkIf cfg.enable [ "tries=0" ]; }
    );
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion =
          config.boot.initrd.systemd.enable || node.interface == null || node.address.ipv4 != null;
        message = "cluster.remoteUnlock: stage 1 with scripts is reachable by IPv4 alone, and ${cluster.nodeName} has no such address: set boot.initrd.systemd.enable = true";
      }
    ];

    boot.initrd.network = {
      enable = true;
      ssh = {
        enable = true;
        inherit (cfg) port;
        hostKeys = [ cfg.hostKeyFile ];
        authorizedKeys = lib.concatMap (admin: admin.keys) (lib.attrValues cluster.admins);
      };
    };

    # A static address applies in the initial RAM disk as well; other nodes use DHCP.
    boot.kernelParams =
      lib.optional (node.interface != null && node.address.ipv4 != null)
        "ip=${node.address.ipv4}::${gateway}:${netmask site.prefixLength.ipv4}:${cluster.nodeName}:${node.interface}:off";

    # Ends the operators' connections before NixOS takes the network down. NixOS ends the SSH server, but since OpenSSH 9.8 sessions are
    # processes of another name, and the operators' terminals would hang until the system has a network.
    boot.initrd.postMountCommands = lib.mkIf (!config.boot.initrd.systemd.enable) (
      lib.mkBefore "[ -e /.keep_sshd ] || pkill -x sshd-session\n"
    );

    # For as long as the passphrase takes. Otherwise systemd in stage 1 gives up on a root that fileSystems calls by a UUID or by the name
    # of a logical volume after 90 seconds; only a device /dev/mapper/NAME of boot.initrd.luks.devices has no limit.
    boot.initrd.systemd.contents."/etc/systemd/system.conf.d/remote-unlock.conf".text = ''
      [Manager]
      DefaultDeviceTimeoutSec=infinity
    '';
  };
}
