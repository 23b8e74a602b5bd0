# A weekly check of certificates, for an operator's own NixOS machine, not for nodes.
{ self }:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.nixcfg-alarm;
in
{
  options.services.nixcfg-alarm = {
    clusters = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "prod" ];
      description = "Clusters whose certificates are checked. Each has a unit `nixcfg-alarm-<cluster>`, which fails where a certificate is not as wanted.";
    };

    repository = mkOption {
      type = types.str;
      example = "/home/alice/cluster";
      description = "Absolute path of a checkout of the clusters' repository.";
    };

    user = mkOption {
      type = types.str;
      example = "alice";
      description = "User whose password store and keys are used. GnuPG has to decrypt without asking; with `live`, ssh has to log in without asking.";
    };

    days = mkOption {
      type = types.ints.between 1 3650;
      default = 30;
      description = "A certificate with fewer days left is not as wanted.";
    };

    live = mkOption {
      type = types.bool;
      default = false;
      description = "Whether to check the nodes' disks and ports too. sudo on the nodes must then not ask for a password.";
    };

    startAt = mkOption {
      type = types.str;
      default = "weekly";
      description = "When to check, in the format of systemd.time(7).";
    };

    package = mkOption {
      type = types.either types.package types.str;
      default = self.packages.${pkgs.stdenv.hostPlatform.system}.nixcfg;
      defaultText = lib.literalExpression "nixcfg of the flake";
      description = "Package of the tool.";
    };
  };

  config.systemd.services = lib.listToAttrs (
    map (cluster: {
      name = "nixcfg-alarm-${cluster}";
      value = {
        description = "Check the certificates of ${cluster}";
        inherit (cfg) startAt;
        wants = [ "network-online.target" ];
        after = [ "network-online.target" ];
        path = [
          pkgs.nix
          pkgs.openssh
          pkgs.git
          pkgs.pass
          pkgs.gnupg
        ];
        # systemd sets HOME to the user's.
        serviceConfig = {
          Type = "oneshot";
          User = cfg.user;
          WorkingDirectory = cfg.repository;
          ExecStart =
            "${cfg.package}/bin/nixcfg pki-status ${cluster} --days ${toString cfg.days}"
            + lib.optionalString cfg.live " --live";
        };
      };
    }) cfg.clusters
  );
}
