# Passphrases of encrypted disks, given by SSH while the node starts.
{ config, lib, ... }:
let
  cfg = config.cluster.remoteUnlock;
in
{
  config = lib.mkIf cfg.enable {
    boot.initrd.network = {
      enable = true;
      ssh = {
        enable = true;
        inherit (cfg) port;
        hostKeys = [ cfg.hostKeyFile ];
        authorizedKeys = lib.concatMap (admin: admin.keys) (lib.attrValues config.cluster.admins);
      };
    };
  };
}
