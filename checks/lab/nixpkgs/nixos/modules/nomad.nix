# services.nomad and virtualisation.docker, which it uses.
# Follows nixos/modules/services/networking/nomad.nix, nixos/modules/virtualisation/docker.nix.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  inherit (import ./declare.nix { inherit lib; }) flag;
  cfg = config.services.nomad;
  format = pkgs.formats.json { };
  settings = format.generate "nomad.json" cfg.settings;
  plugins = pkgs.buildEnv {
    name = "nomad-plugins";
    paths = lib.filter lib.isDerivation cfg.extraSettingsPlugins;
  };
  files = [
    "/etc/nomad.json"
  ]
  ++ cfg.extraSettingsPaths
  ++ lib.mapAttrsToList (name: _: "%d/${name}") cfg.credentials;
in
{
  options.services.nomad = {
    enable = lib.mkEnableOption "Nomad, a distributed scheduler";
    package = lib.mkPackageOption pkgs "nomad" { };
    extraPackages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      description = "Packages in the agent's PATH.";
    };
    dropPrivileges = flag true "Whether it runs as a user of its own.";
    enableDocker = flag true "Whether Docker is there for its jobs.";
    extraSettingsPaths = mkOption {
      type = types.listOf types.path;
      default = [ ];
      description = "Further files of settings.";
    };
    extraSettingsPlugins = mkOption {
      type = types.listOf (types.either types.package types.path);
      default = [ ];
      description = "Plugins.";
    };
    credentials = mkOption {
      type = types.attrsOf types.str;
      default = { };
      description = "Files of settings handed over by systemd.";
    };
    settings = mkOption {
      type = format.type;
      default = { };
      description = "Settings of the agent.";
    };
  };
  config = lib.mkIf cfg.enable {
    services.nomad.settings = {
      data_dir = lib.mkDefault "/var/lib/nomad";
    }
    // lib.optionalAttrs (cfg.extraSettingsPlugins != [ ]) {
      plugin_dir = lib.mkDefault "${plugins}/bin";
    };
    environment.etc."nomad.json".source = settings;
    environment.systemPackages = [ cfg.package ];
    virtualisation.docker.enable = lib.mkIf cfg.enableDocker true;
    standin.programs.nomad = {
      program = "nomad";
      option = "services.nomad";
    };
    systemd.services.nomad = {
      description = "Nomad";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];
      path = cfg.extraPackages;
      restartTriggers = [ config.environment.etc."nomad.json".source ];
      serviceConfig = {
        DynamicUser = cfg.dropPrivileges;
        ExecReload = "/bin/kill -HUP $MAINPID";
        ExecStart = "${lib.getExe cfg.package} agent ${
          lib.concatMapStringsSep " " (file: "-config=${file}") files
        }";
        KillMode = "process";
        KillSignal = "SIGINT";
        LimitNOFILE = 65536;
        LimitNPROC = "infinity";
        OOMScoreAdjust = -1000;
        Restart = "on-failure";
        RestartSec = 2;
        TasksMax = "infinity";
        StateDirectory = "nomad";
        LoadCredential = lib.mapAttrsToList (name: path: "${name}:${path}") cfg.credentials;
      };
    };
  };
}
