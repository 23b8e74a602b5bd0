{ lib, ... }:
let
  inherit (lib) mkOption types;
in
{
  options.cluster = mkOption {
    type = types.submodule (
      { config, ... }:
      {
        options.consul = {
          enable = mkOption {
            type = types.bool;
            default = true;
            example = false;
            description = "Whether every node runs a Consul agent, as a server if its role is `server`.";
          };
          httpsPort = mkOption {
            type = types.port;
            default = 8501;
            example = 8501;
            description = "Port of Consul's API, which requires TLS with a client certificate. There is no plain port.";
          };
        };

        # From its first start on, Consul keeps the key in a keyring of its own; rotate-gossip changes it there.
        config.secrets = lib.mkIf config.consul.enable {
          consul-gossip = {
            generator = "base64";
            length = 32;
          };
        };
      }
    );
  };
}
