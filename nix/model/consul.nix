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
            description = "Whether every node runs a Consul agent, a server where its role is `server`.";
          };
          httpsPort = mkOption {
            type = types.port;
            default = 8501;
            example = 8501;
            description = "Port of Consul's API, by TLS with a client certificate only; there is no plain port.";
          };
        };

        # Consul keeps the key in a keyring of its own from its first start on: rotate-gossip changes it.
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
