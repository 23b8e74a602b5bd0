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
              Whether each node has certificates of its own, so that one stolen node costs one certificate. Otherwise servers
              share one and the other nodes share another, renewed every year.
            '';
          };

          expiryCheckDays = mkOption {
            type = types.nullOr types.ints.positive;
            default = 21;
            example = 30;
            description = ''
              Each node looks at its certificates once a day, and the unit `nixcfg-pki-expiry` fails when one ends in fewer
              days than this; null turns it off.
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
            # What is below /var/lib/nomad, systemd keeps for the user that it makes up.
            default = if config.nomad.dropPrivileges then "/var/lib/nixcfg/pki/nomad" else "/var/lib/nomad/pki";
            defaultText = lib.literalExpression ''"/var/lib/nomad/pki", or "/var/lib/nixcfg/pki/nomad" with cluster.nomad.dropPrivileges'';
            example = "/persist/nomad/pki";
            description = ''
              Folder on the nodes with Nomad's certificates: `nomad-ca.crt`, `nomad.crt`, `nomad.key`, and those by which it
              speaks to Consul: `consul-ca.crt`, `consul-client.crt`, `consul-client.key`.
            '';
          };
        };
      }
    );
  };
}
