# The firewall, as an nftables table. A node without nft gets the file alone, and its switch says so.
# Follows nixos/modules/services/networking/firewall.nix, nixos/modules/services/networking/firewall-iptables.nix,
#   nixos/modules/services/networking/firewall-nftables.nix, nixos/modules/services/networking/nftables.nix.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  inherit (import ./declare.nix { inherit lib; }) flag lines;
  cfg = config.networking.firewall;
  range = types.attrsOf types.port;
  ports = {
    allowedTCPPorts = mkOption {
      type = types.listOf types.port;
      default = [ ];
      apply = values: lib.sort (a: b: a < b) (lib.unique values);
      example = [ 22 ];
      description = "TCP ports that are open.";
    };
    allowedUDPPorts = mkOption {
      type = types.listOf types.port;
      default = [ ];
      apply = values: lib.sort (a: b: a < b) (lib.unique values);
      example = [ 53 ];
      description = "UDP ports that are open.";
    };
    allowedTCPPortRanges = mkOption {
      type = types.listOf range;
      default = [ ];
      description = "Ranges of TCP ports that are open.";
    };
    allowedUDPPortRanges = mkOption {
      type = types.listOf range;
      default = [ ];
      description = "Ranges of UDP ports that are open.";
    };
  };
in
{
  options.networking.firewall = ports // {
    enable = flag true "Whether there is a firewall.";
    package = mkOption {
      type = types.package;
      default = pkgs.iptables;
      defaultText = lib.literalExpression "pkgs.iptables";
      description = "The package of the firewall's program.";
    };
    allowPing = flag true "Whether echo requests are answered.";
    pingLimit = mkOption {
      type = types.nullOr (types.separatedString " ");
      default = null;
      description = "How often.";
    };
    logRefusedConnections = flag false "Whether refused connections are logged.";
    logRefusedPackets = flag false "Whether refused packets are logged.";
    logReversePathDrops = flag false "Whether packets of wrong paths are logged.";
    rejectPackets = flag false "Whether refused packets are answered.";
    checkReversePath = mkOption {
      type = types.either types.bool (
        types.enum [
          "strict"
          "loose"
        ]
      );
      default = true;
      description = "Whether packets must come from where their answers go.";
    };
    trustedInterfaces = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "wg0" ];
      description = "Interfaces from which everything is let in.";
    };
    interfaces = mkOption {
      type = types.attrsOf (types.submodule { options = ports; });
      default = { };
      description = "What is open on one interface.";
    };
    extraCommands = lines "Further commands of iptables.";
    extraStopCommands = lines "Commands at the firewall's end.";
    extraInputRules = lines "Further rules of nftables for what comes in.";
    extraForwardRules = lines "Further rules of nftables for what is passed on.";
    filterForward = flag false "Whether what is passed on is filtered.";
    autoLoadConntrackHelpers = flag false "Whether helpers of connection tracking are loaded.";
    extraPackages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      description = "Packages for the commands.";
    };
    backend = mkOption {
      type = types.enum [
        "iptables"
        "nftables"
        "firewalld"
      ];
      default = if config.networking.nftables.enable then "nftables" else "iptables";
      defaultText = lib.literalExpression ''if config.networking.nftables.enable then "nftables" else "iptables"'';
      description = "What the firewall is made of.";
    };
  };
  options.networking.nftables = {
    ruleset = lines "Further rules of nftables.";
    tables = mkOption {
      type = types.attrsOf (types.submodule { freeformType = types.attrsOf types.anything; });
      default = { };
      description = "Tables of nftables.";
    };
  };
  config = {
    networking.firewall.trustedInterfaces = [ "lo" ];
    environment.etc = lib.mkIf cfg.enable {
      "nftables/nixos.nft".text = import ./firewall-rules.nix { inherit lib config; };
    };
    systemd.services.firewall = lib.mkIf cfg.enable {
      description = "Firewall";
      wantedBy = [ "multi-user.target" ];
      before = [ "network-pre.target" ];
      wants = [ "network-pre.target" ];
      unitConfig.ConditionCapability = "CAP_NET_ADMIN";
      reloadTriggers = [ (import ./firewall-rules.nix { inherit lib config; }) ];
      reloadIfChanged = true;
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = "/bin/bash ${../switch/firewall.sh} start";
        ExecReload = "/bin/bash ${../switch/firewall.sh} start";
        ExecStop = "/bin/bash ${../switch/firewall.sh} stop";
      };
    };
  };
}
