{ lib, ... }:
let
  inherit (lib) mkOption types;
  own = import ../lib/types.nix { inherit lib; };
in
{
  options.cluster = mkOption {
    type = types.submodule (
      { config, ... }:
      {
        options.remoteUnlock = {
          enable = mkOption {
            type = types.bool;
            default = false;
            example = true;
            description = ''
              Whether administrators can log in to the initial RAM disk by SSH, to give the passphrase of an encrypted
              disk. Deploy the secret `initrd-ssh-host-key` before you deploy a system that enables this: the boot
              loader cannot be installed without the key.
            '';
          };
          port = mkOption {
            type = types.port;
            default = 2222;
            example = 2222;
            description = "Port of that SSH server. It differs from the system's, as the host key differs too.";
          };
          hostKeyFile = mkOption {
            type = own.nodePath;
            default = "/var/lib/nixcfg/initrd/ssh_host_ed25519_key";
            example = "/persist/initrd/ssh_host_ed25519_key";
            description = ''
              File on the node with the host key. The key is copied into the initial RAM disk, which is not encrypted:
              whoever has the disk has the key.
            '';
          };
        };

        config.secrets = lib.mkIf config.remoteUnlock.enable {
          initrd-ssh-host-key = {
            generator = "ssh-host";
            perNode = true;
            path = config.remoteUnlock.hostKeyFile;
          };
        };
      }
    );
  };
}
