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
        options.pki = {
          perNode = mkOption {
            type = types.bool;
            default = false;
            example = true;
            description = ''
              Whether each node has certificates of its own, so that a stolen node exposes its own certificates alone.
              Otherwise all servers share one, and all other nodes share another.
            '';
          };

          expiryCheckDays = mkOption {
            type = types.nullOr types.ints.positive;
            default = 21;
            example = 30;
            description = ''
              Each node checks its certificates once a day: the unit `nixcfg-pki-expiry` fails when one ends in fewer
              days than this. null disables the check.
            '';
          };

          consul.directory = mkOption {
            type = own.nodePath;
            default = "/var/lib/consul/pki";
            example = "/persist/consul/pki";
            description = "Folder on the nodes with Consul's certificates: `consul-ca.crt`, `consul.crt`, `consul.key`.";
          };

          nomad.directory = mkOption {
            type = own.nodePath;
            # systemd gives everything below /var/lib/nomad to the dynamic user.
            default = if config.nomad.dropPrivileges then "/var/lib/nixcfg/pki/nomad" else "/var/lib/nomad/pki";
            defaultText = lib.literalExpression ''"/var/lib/nomad/pki", or "/var/lib/nixcfg/pki/nomad" with cluster.nomad.dropPrivileges'';
            example = "/persist/nomad/pki";
            description = ''
              Folder on the nodes with Nomad's certificates: `nomad-ca.crt`, `nomad.crt`, `nomad.key`, and those for its
              requests to Consul: `consul-ca.crt`, `consul-client.crt`, `consul-client.key`.
            '';
          };
        };
      }
    );
  };
}
