# Not for nodes: a weekly look at certificates from outside, on an operator's own machine that runs NixOS.
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
      description = "Clusters whose certificates are looked at. Each has a unit `nixcfg-alarm-<cluster>`, which fails where one is not as wanted.";
    };

    repository = mkOption {
      type = types.str;
      example = "/home/alice/cluster";
      description = "Where the repository of the clusters is checked out, as an absolute path.";
    };

    user = mkOption {
      type = types.str;
      example = "alice";
      description = "Whose password store and keys are used: GnuPG has to decrypt without asking, and with `live` ssh to log in.";
    };

    days = mkOption {
      type = types.ints.between 1 3650;
      default = 30;
      description = "A certificate with fewer days left is not as wanted.";
    };

    live = mkOption {
      type = types.bool;
      default = false;
      description = "Whether to look at the nodes' disks and ports too. sudo there must not ask for a password then.";
    };

    startAt = mkOption {
      type = types.str;
      default = "weekly";
      description = "When, as systemd.time(7) has it.";
    };

    package = mkOption {
      type = types.either types.package types.str;
      default = self.packages.${pkgs.stdenv.hostPlatform.system}.nixcfg;
      defaultText = lib.literalExpression "nixcfg of the flake";
      description = "The tool.";
    };
  };

  config.systemd.services = lib.listToAttrs (
    map (cluster: {
      name = "nixcfg-alarm-${cluster}";
      value = {
        description = "Look at the certificates of ${cluster}";
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
        # HOME is the user's, by systemd.
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
