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
  config = lib.mkIf cfg.enable {
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
  };
}
