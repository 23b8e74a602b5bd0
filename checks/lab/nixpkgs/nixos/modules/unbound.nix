# services.unbound.
# Follows nixos/modules/services/networking/unbound.nix.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  inherit (import ./declare.nix { inherit lib; }) flag nullable;
  cfg = config.services.unbound;
  atom = types.oneOf [
    types.bool
    types.int
    types.float
    types.str
  ];
  values = types.either atom (types.listOf atom);
  clauseType = types.either types.str (types.attrsOf values);
  word = value: if lib.isBool value then (if value then "yes" else "no") else toString value;
  lines = lib.concatMapAttrs (
    key: value: { ${key} = lib.concatMapStrings (one: "  ${key}: ${word one}\n") (lib.toList value); }
  );
  clause = name: set: "${name}:\n${lib.concatStrings (lib.attrValues (lines set))}";
  text = lib.concatStringsSep "\n" (
    lib.concatLists (
      lib.mapAttrsToList (
        name: value:
        map (one: if lib.isAttrs one then clause name one else "${name}: ${word one}\n") (lib.toList value)
      ) cfg.settings
    )
  );
in
{
  options.services.unbound = {
    enable = lib.mkEnableOption "the Unbound resolver";
    package = lib.mkPackageOption pkgs "unbound" { };
    user = mkOption {
      type = types.str;
      default = "unbound";
      description = "The account that it runs as.";
    };
    group = mkOption {
      type = types.str;
      default = "unbound";
      description = "The group that it runs as.";
    };
    stateDir = mkOption {
      type = types.path;
      default = "/var/lib/unbound";
      description = "Where its state is.";
    };
    checkconf = flag (
      !(cfg.settings ? include)
    ) "Whether its settings are checked when they are built.";
    resolveLocalQueries = flag true "Whether the machine itself asks it.";
    enableRootTrustAnchor = flag true "Whether answers must be signed from the root.";
    localControlSocketPath = nullable types.str "The socket by which it is controlled.";
    settings = mkOption {
      default = { };
      description = "Settings of unbound.conf.";
      type = types.submodule {
        freeformType = types.attrsOf (types.either clauseType (types.listOf clauseType));
        options.remote-control.control-enable = flag false "Whether it can be controlled.";
      };
    };
  };
  config = lib.mkIf cfg.enable {
    services.unbound.settings = {
      server = {
        directory = lib.mkDefault cfg.stateDir;
        username = lib.mkDefault cfg.user;
        chroot = lib.mkDefault "\"\"";
        interface = lib.mkDefault [ "127.0.0.1" ];
        access-control = lib.mkDefault [ "127.0.0.0/8 allow" ];
      };
    };
    environment.etc."unbound/unbound.conf".text = text;
    networking.nameservers = lib.mkIf cfg.resolveLocalQueries (lib.mkForce [ "127.0.0.1" ]);
    users.users = lib.mkIf (cfg.user == "unbound") {
      unbound = {
        description = "unbound daemon user";
        isSystemUser = true;
        inherit (cfg) group;
      };
    };
    users.groups = lib.mkIf (cfg.group == "unbound") { unbound = { }; };
    standin.programs.unbound = {
      program = "unbound";
      option = "services.unbound";
    };
    systemd.services.unbound = {
      description = "Unbound recursive Domain Name Server";
      after = [ "network.target" ];
      before = [ "nss-lookup.target" ];
      wants = [ "nss-lookup.target" ];
      wantedBy = [ "multi-user.target" ];
      restartTriggers = [ text ];
      serviceConfig = {
        ExecStart = "${lib.getExe cfg.package} -d -c /etc/unbound/unbound.conf";
        ExecReload = "/bin/kill -HUP $MAINPID";
        Restart = "always";
        StateDirectory = "unbound";
      };
    };
  };
}
