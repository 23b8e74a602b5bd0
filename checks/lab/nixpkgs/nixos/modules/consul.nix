# services.consul.
# Follows nixos/modules/services/networking/consul.nix.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  inherit (import ./declare.nix { inherit lib; }) flag strings;
  cfg = config.services.consul;
  interface =
    description:
    mkOption {
      type = types.nullOr types.str;
      default = null;
      inherit description;
    };
  files = [
    "/etc/consul.json"
    "/etc/consul-addrs.json"
  ]
  ++ cfg.extraConfigFiles;
  addressOf =
    key: name:
    lib.optionalString (name != null) ''
      echo "  \"${key}\": \"$(ip -o addr show dev ${lib.escapeShellArg name} scope global | awk 'NR == 1 { sub("/.*", "", $4); print $4 }')\"," >>/etc/consul-addrs.json.new
    '';
in
{
  options.services.consul = {
    enable = flag false "Whether Consul runs.";
    package = lib.mkPackageOption pkgs "consul" { };
    webUi = flag false "Whether it has a web page.";
    leaveOnStop = flag false "Whether it leaves the cluster when it stops.";
    dropPrivileges = flag true "Whether it runs as a user of its own.";
    forceAddrFamily = mkOption {
      type = types.enum [
        "any"
        "ipv4"
        "ipv6"
      ];
      default = "any";
      description = "Which addresses are used.";
    };
    interface.advertise = interface "The interface whose address is told to others.";
    interface.bind = interface "The interface that it listens on.";
    extraConfig = mkOption {
      type = types.attrsOf types.anything;
      default = { };
      description = "Settings of the agent.";
    };
    extraConfigFiles = strings [ ] "Further files of settings.";
  };
  config = lib.mkIf cfg.enable {
    users.users.consul = {
      description = "Consul agent daemon user";
      isSystemUser = true;
      group = "consul";
    };
    users.groups.consul = { };
    environment.systemPackages = [ cfg.package ];
    environment.etc."consul.d/dummy.json".text = "{ }";
    environment.etc."consul.json".text = lib.toJSON (
      {
        data_dir = "/var/lib/consul";
        ui_config.enabled = cfg.webUi;
      }
      // cfg.extraConfig
    );
    standin.programs.consul = {
      program = "consul";
      option = "services.consul";
    };
    systemd.services.consul = {
      wantedBy = [ "multi-user.target" ];
      after = [ "network.target" ];
      restartTriggers = [
        config.environment.etc."consul.json".text
      ];
      path = [ cfg.package ];
      serviceConfig = {
        ExecStart = "${lib.getExe cfg.package} agent -config-dir /etc/consul.d ${
          lib.concatMapStringsSep " " (file: "-config-file ${file}") files
        }";
        ExecReload = "/bin/kill -HUP $MAINPID";
        PermissionsStartOnly = true;
        User = if cfg.dropPrivileges then "consul" else null;
        Restart = "on-failure";
        TimeoutStartSec = "infinity";
        StateDirectory = "consul";
      }
      // lib.optionalAttrs cfg.leaveOnStop { ExecStop = "${lib.getExe cfg.package} leave"; };
      preStart = ''
        echo "{" >/etc/consul-addrs.json.new
        ${addressOf "bind_addr" cfg.interface.bind}${addressOf "advertise_addr" cfg.interface.advertise}
        echo '  "log_level": "INFO" }' >>/etc/consul-addrs.json.new
        mv /etc/consul-addrs.json.new /etc/consul-addrs.json
      '';
    };
  };
}
