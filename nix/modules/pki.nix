# Folders of the certificates, and a unit that fails some days before a certificate expires.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (config) cluster;
  cfg = cluster.pki;

  directories =
    lib.optional cluster.consul.enable cfg.consul.directory
    ++ lib.optional cluster.nomad.enable cfg.nomad.directory;
in
{
  config = lib.mkIf (directories != [ ]) {
    systemd.tmpfiles.settings."10-nixcfg" = lib.mkMerge [
      (lib.mkIf cluster.consul.enable {
        "/var/lib/consul".d = {
          mode = "0700";
          user = "consul";
          group = "consul";
        };
        ${cfg.consul.directory}.d = {
          mode = "0700";
          user = "consul";
          group = "consul";
        };
      })
      (lib.mkIf cluster.nomad.enable {
        ${cfg.nomad.directory}.d = {
          mode = if cluster.nomad.dropPrivileges then "0750" else "0700";
          user = "root";
          group = if cluster.nomad.dropPrivileges then "nomad-pki" else "root";
        };
      })
    ];

    systemd.services.nixcfg-pki-expiry = lib.mkIf (cfg.expiryCheckDays != null) {
      description = "Check that no certificate of Consul and Nomad ends within ${toString cfg.expiryCheckDays} days";
      startAt = "daily";
      path = [ pkgs.openssl ];
      serviceConfig.Type = "oneshot";
      # Checks the names that Consul and Nomad read; certificates of past years have other names.
      script = ''
        ending=0
        for directory in ${lib.escapeShellArgs directories}; do
          for certificate in "$directory"/{consul-ca,consul,consul-client,nomad-ca,nomad}.crt; do
            [ -e "$certificate" ] || continue
            if ! openssl x509 -in "$certificate" -noout -checkend ${
              toString (cfg.expiryCheckDays * 24 * 60 * 60)
            } >/dev/null; then
              echo "$certificate: $(openssl x509 -in "$certificate" -noout -enddate)"
              ending=1
            fi
          done
        done
        exit "$ending"
      '';
    };
  };
}
