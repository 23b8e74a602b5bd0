# The node's own Nix, with the configuration's settings.
# Follows nixos/modules/config/nix.nix, nixos/modules/services/system/nix-daemon.nix, nixos/modules/services/misc/nix-gc.nix,
#   nixos/modules/services/misc/nix-optimise.nix.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  inherit (import ./declare.nix { inherit lib; }) flag strings lines;
  cfg = config.nix;
  atom = types.nullOr (
    types.oneOf [
      types.bool
      types.int
      types.float
      types.str
      types.path
      types.package
    ]
  );
  value =
    v:
    if v == null then
      ""
    else if lib.isBool v then
      lib.boolToString v
    else if lib.isList v then
      lib.concatMapStringsSep " " value v
    else
      toString v;
in
{
  options.nix = {
    enable = flag true "Whether Nix is managed.";
    package = mkOption {
      type = types.package;
      default = pkgs.nix;
      defaultText = lib.literalExpression "pkgs.nix";
      description = "The Nix package; the stand-in uses the machine's.";
    };
    channel.enable = flag true "Whether channels are used.";
    checkConfig = flag true "Whether nix.conf is checked.";
    checkAllErrors = flag true "Whether all errors of nix.conf are errors.";
    extraOptions = lines "Further lines of nix.conf.";
    nixPath = strings [ ] "The search path of Nix.";
    registry = mkOption {
      type = types.attrsOf (types.submodule { freeformType = types.attrsOf types.anything; });
      default = { };
      description = "The registry of flakes.";
    };
    daemonCPUSchedPolicy = mkOption {
      type = types.enum [
        "other"
        "batch"
        "idle"
      ];
      default = "other";
      description = "How builds are scheduled.";
    };
    daemonIOSchedClass = mkOption {
      type = types.enum [
        "best-effort"
        "idle"
      ];
      default = "best-effort";
      description = "How builds' disk access is scheduled.";
    };
    nrBuildUsers = mkOption {
      type = types.int;
      default = 32;
      description = "How many build users there are.";
    };
    distributedBuilds = flag false "Whether builds go to other machines.";
    buildMachines = mkOption {
      type = types.listOf (types.submodule { freeformType = types.attrsOf types.anything; });
      default = [ ];
      description = "Other machines that build.";
    };
    gc = {
      automatic = flag false "Whether garbage is collected regularly.";
      dates = mkOption {
        type = types.either types.singleLineStr (types.listOf types.str);
        apply = lib.toList;
        default = [ "03:15" ];
        description = "When garbage is collected.";
      };
      randomizedDelaySec = mkOption {
        type = types.singleLineStr;
        default = "0";
        description = "The most that a collection is put off.";
      };
      persistent = flag true "Whether a collection that was missed is made up for.";
      options = mkOption {
        type = types.singleLineStr;
        default = "";
        example = "--delete-older-than 30d";
        description = "Options of nix-collect-garbage.";
      };
    };
    optimise = {
      automatic = flag false "Whether the store is optimised regularly.";
      dates = mkOption {
        type = types.either types.singleLineStr (types.listOf types.str);
        apply = lib.toList;
        default = [ "03:45" ];
        description = "When the store is optimised.";
      };
      randomizedDelaySec = mkOption {
        type = types.singleLineStr;
        default = "1800";
        description = "The most that it is put off.";
      };
      persistent = flag true "Whether one that was missed is made up for.";
    };
    settings = mkOption {
      default = { };
      example = {
        max-jobs = 2;
      };
      description = "Settings of nix.conf.";
      type = types.submodule {
        freeformType = types.attrsOf (types.either atom (types.listOf atom));
        options = {
          max-jobs = mkOption {
            type = types.either types.int (types.enum [ "auto" ]);
            default = "auto";
            description = "How many builds run at once.";
          };
          cores = mkOption {
            type = types.int;
            default = 0;
            description = "Processors for one build.";
          };
          auto-optimise-store = flag false "Whether equal files are linked.";
          sandbox = mkOption {
            type = types.either types.bool (types.enum [ "relaxed" ]);
            default = true;
            description = "Whether builds are sandboxed.";
          };
          require-sigs = flag true "Whether paths must be signed.";
          trusted-users = strings [ ] "Users that the daemon trusts.";
          allowed-users = strings [ "*" ] "Users that may use the daemon.";
          substituters = strings [ ] "Caches.";
          trusted-substituters = strings [ ] "Caches that users may add.";
          trusted-public-keys = strings [ ] "Keys of caches.";
          system-features = strings [ ] "Features of the machine.";
          extra-sandbox-paths = strings [ ] "Further paths in the sandbox.";
        };
      };
    };
  };
  config = lib.mkIf cfg.enable {
    nix.settings.trusted-users = [ "root" ];
    environment.etc."nix/nix.conf".text = ''
      # Written by the system's configuration.
      build-users-group = nixbld
    ''
    + lib.concatStrings (
      lib.mapAttrsToList (key: v: "${key} = ${value v}\n") (
        lib.filterAttrs (
          key: v: v != null && !(v == [ ] && key == "system-features") && key != "sandbox"
        ) cfg.settings
      )
    )
    # Without the fallback a build would fail in a container, where Nix cannot make a sandbox.
    + "sandbox = ${value cfg.settings.sandbox}\nsandbox-fallback = true\n"
    + cfg.extraOptions;
    systemd.services.nix-gc = lib.mkIf cfg.gc.automatic {
      description = "Nix Garbage Collector";
      script = "exec nix-collect-garbage ${cfg.gc.options}";
      serviceConfig.Type = "oneshot";
      startAt = cfg.gc.dates;
      restartIfChanged = false;
    };
    systemd.timers.nix-gc = lib.mkIf cfg.gc.automatic {
      timerConfig = {
        RandomizedDelaySec = cfg.gc.randomizedDelaySec;
        Persistent = cfg.gc.persistent;
      };
    };
    systemd.services.nix-optimise = lib.mkIf cfg.optimise.automatic {
      description = "Nix Store Optimiser";
      script = "exec nix-store --optimise";
      serviceConfig.Type = "oneshot";
      startAt = cfg.optimise.dates;
      restartIfChanged = false;
    };
  };
}
