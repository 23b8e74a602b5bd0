# Units and other options of systemd.
# Follows nixos/modules/system/boot/systemd.nix, nixos/modules/system/boot/systemd/tmpfiles.nix, nixos/lib/systemd-lib.nix.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  inherit (lib) mkOption types;
  inherit (import ./declare.nix { inherit lib; })
    flag
    open
    nullable
    text
    ;
  kinds = import ./systemd-options.nix { inherit lib; };
  cfg = config.systemd;

  settingValue = value: if lib.isBool value then lib.boolToString value else toString value;
  lines =
    set:
    lib.concatStrings (
      lib.mapAttrsToList (
        name: value:
        if lib.isList value then
          lib.concatMapStrings (one: "${name}=${settingValue one}\n") value
        else if value == null then
          ""
        else
          "${name}=${settingValue value}\n"
      ) set
    );
  # Each list on one line, without those that are empty.
  words = lib.concatMapAttrs (
    name: list: lib.optionalAttrs (list != [ ]) { ${name} = lib.concatStringsSep " " list; }
  );
  # A hash of all triggers, by which a switch sees that one of them changed.
  triggers =
    name: values:
    lib.optionalAttrs (values != [ ]) {
      ${name} = "X-${
        builtins.hashString "sha256" (
          lib.concatMapStringsSep "\n" (
            value:
            builtins.unsafeDiscardStringContext (
              if lib.isAttrs value || lib.isList value || lib.isPath value then
                lib.toJSON value
              else
                toString value
            )
          ) values
        )
      }";
    };
  unitSection =
    unit:
    "[Unit]\n"
    + lines (
      lib.optionalAttrs (unit.description != "") { Description = unit.description; }
      // words {
        Requires = unit.requires;
        Wants = unit.wants;
        Upholds = unit.upholds;
        After = unit.after;
        Before = unit.before;
        BindsTo = unit.bindsTo;
        PartOf = unit.partOf;
        Conflicts = unit.conflicts;
        Requisite = unit.requisite;
        OnFailure = unit.onFailure;
        OnSuccess = unit.onSuccess;
        Documentation = unit.documentation;
      }
      // triggers "X-Restart-Triggers" unit.restartTriggers
      // triggers "X-Reload-Triggers" unit.reloadTriggers
      // unit.unitConfig
    );
  changeMarks =
    unit:
    (
      if unit.reloadIfChanged then
        "X-ReloadIfChanged=true\n"
      else if !unit.restartIfChanged then
        "X-RestartIfChanged=false\n"
      else
        ""
    )
    + lib.optionalString (!unit.stopIfChanged) "X-StopIfChanged=false\n"
    + lib.optionalString unit.notSocketActivated "X-NotSocketActivated=true\n";

  scriptOf =
    name: kind: text:
    pkgs.writeShellScript "unit-script-${lib.strings.sanitizeDerivationName name}-${kind}" "set -e\n${text}";
  serviceConfigOf =
    name: unit:
    let
      script = kind: text: scriptOf name kind text;
      when =
        setting: kind: text:
        lib.optionalAttrs (text != "") { ${setting} = "${script kind text}"; };
    in
    # What the unit says itself comes before what its scripts add.
    lib.foldl'
      (
        set: extra:
        lib.zipAttrsWith
          (_: values: if lib.length values == 1 then lib.head values else lib.concatMap lib.toList values)
          [
            set
            extra
          ]
      )
      unit.serviceConfig
      [
        (lib.optionalAttrs (unit.script != "") {
          ExecStart = "${script "start" unit.script} ${unit.scriptArgs}";
        })
        (when "ExecStartPre" "pre-start" unit.preStart)
        (when "ExecStartPost" "post-start" unit.postStart)
        (when "ExecReload" "reload" unit.reload)
        (when "ExecStop" "pre-stop" unit.preStop)
        (when "ExecStopPost" "post-stop" unit.postStop)
      ];
  machinePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  environmentOf =
    unit:
    lib.optionalAttrs (unit.path != [ ] || unit.enableDefaultPath) {
      PATH = lib.concatStringsSep ":" (
        lib.optional (unit.path != [ ]) (
          lib.concatMapStringsSep ":" (
            one: if lib.isString one then "${one}/bin" else "${lib.getBin one}/bin"
          ) unit.path
        )
        ++ [ machinePath ]
      );
    }
    // cfg.globalEnvironment
    // unit.environment;
  environmentLines =
    unit:
    lib.concatStrings (
      lib.mapAttrsToList (
        key: value:
        lib.optionalString (value != null) "Environment=${lib.toJSON "${key}=${toString value}"}\n"
      ) (environmentOf unit)
    );

  isAddition =
    unit:
    !(unit.serviceConfig ? ExecStart)
    && unit.script == ""
    && !(unit.serviceConfig.Type or "" == "oneshot");
  render = {
    service =
      name: unit:
      unitSection unit
      + "\n[Service]\n"
      + changeMarks unit
      + (
        if isAddition unit then
          lib.optionalString (unit.environment != { } || unit.path != [ ]) (environmentLines unit)
        else
          environmentLines unit
      )
      + lines (serviceConfigOf name unit);
    timer = _: unit: unitSection unit + "\n[Timer]\n" + lines unit.timerConfig;
    path = _: unit: unitSection unit + "\n[Path]\n" + lines unit.pathConfig;
    socket =
      _: unit:
      unitSection unit
      + "\n[Socket]\n"
      + lines (
        lib.optionalAttrs (unit.listenStreams != [ ]) { ListenStream = unit.listenStreams; }
        // lib.optionalAttrs (unit.listenDatagrams != [ ]) { ListenDatagram = unit.listenDatagrams; }
        // unit.socketConfig
      );
    slice = _: unit: unitSection unit + "\n[Slice]\n" + lines unit.sliceConfig;
    target = _: unitSection;
    mount =
      _: unit:
      unitSection unit
      + "\n[Mount]\n"
      + lines (
        {
          What = unit.what;
          Where = unit.where;
        }
        // lib.optionalAttrs (unit.type != "") { Type = unit.type; }
        // lib.optionalAttrs (unit.options != "") { Options = unit.options; }
        // unit.mountConfig
      );
  };

  unitsOption =
    kind: description:
    mkOption {
      default = { };
      inherit description;
      type = types.attrsOf (
        types.submodule (
          {
            name,
            config,
            options,
            ...
          }:
          {
            options = kinds.common // kinds.${kind};
            config = {
              name = lib.mkDefault "${name}.${kind}";
              unitConfig = lib.mkMerge [
                (lib.mkIf options.startLimitBurst.isDefined { StartLimitBurst = config.startLimitBurst; })
                (lib.mkIf options.startLimitIntervalSec.isDefined {
                  StartLimitIntervalSec = config.startLimitIntervalSec;
                })
              ];
            }
            // lib.optionalAttrs (kind == "service") {
              stopIfChanged = lib.mkIf config.reloadIfChanged (lib.mkDefault true);
            };
          }
        )
      );
    };
  asUnits =
    kind: units:
    lib.mapAttrs' (
      name: unit:
      lib.nameValuePair unit.name {
        inherit (unit)
          enable
          aliases
          wantedBy
          requiredBy
          upheldBy
          ;
        text = render.${kind} name unit;
        # Without a program of its own a service only adds to one that the machine has.
        addition = unit.overrideStrategy == "asDropin" || kind == "service" && isAddition unit;
      }
    ) units;
  units =
    asUnits "service" cfg.services
    // asUnits "timer" cfg.timers
    // asUnits "path" cfg.paths
    // asUnits "socket" cfg.sockets
    // asUnits "slice" cfg.slices
    // asUnits "target" cfg.targets
    // lib.listToAttrs (
      map (
        mount:
        lib.nameValuePair "${utils.escapeSystemdPath mount.where}.mount" {
          inherit (mount)
            enable
            aliases
            wantedBy
            requiredBy
            upheldBy
            ;
          text = render.mount "" mount;
          addition = false;
        }
      ) cfg.mounts
    )
    // lib.mapAttrs (_: unit: {
      inherit (unit)
        enable
        aliases
        wantedBy
        requiredBy
        upheldBy
        ;
      inherit (unit) text;
      addition = unit.overrideStrategy == "asDropin";
    }) (lib.filterAttrs (_: unit: unit.text != null) cfg.units);
  tmpfiles =
    lib.concatLines cfg.tmpfiles.rules
    + lib.concatStrings (
      lib.concatLists (
        lib.mapAttrsToList (
          _: paths:
          lib.concatLists (
            lib.mapAttrsToList (
              path: entries:
              lib.mapAttrsToList (
                type: entry:
                "${type} '${path}' ${entry.mode} ${entry.user} ${entry.group} ${entry.age} ${entry.argument}\n"
              ) entries
            ) paths
          )
        ) cfg.tmpfiles.settings
      )
    );
in
{
  options.systemd = {
    services = unitsOption "service" "Services.";
    timers = unitsOption "timer" "Timers.";
    paths = unitsOption "path" "Watched paths.";
    sockets = unitsOption "socket" "Sockets.";
    slices = unitsOption "slice" "Slices.";
    targets = unitsOption "target" "Targets.";
    mounts = mkOption {
      type = types.listOf (
        types.submodule {
          options =
            kinds.common
            // kinds.mount
            // {
              name = text "" "Of no meaning: a mount is named by its place.";
            };
        }
      );
      default = [ ];
      description = "Mounts.";
    };
    units = mkOption {
      default = { };
      description = "Units as text.";
      type = types.attrsOf (
        types.submodule {
          options = {
            inherit (kinds.common)
              enable
              aliases
              wantedBy
              requiredBy
              upheldBy
              overrideStrategy
              ;
            text = nullable types.str "The unit.";
          };
        }
      );
    };
    package = mkOption {
      type = types.package;
      default = pkgs.systemd;
      defaultText = lib.literalExpression "pkgs.systemd";
      description = "The systemd package; the stand-in uses the machine's.";
    };
    packages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      description = "Packages with units.";
    };
    defaultUnit = text "multi-user.target" "The unit that is booted to.";
    globalEnvironment = mkOption {
      type = types.attrsOf (
        types.nullOr (
          types.oneOf [
            types.str
            types.path
            types.package
          ]
        )
      );
      default = { };
      description = "The environment of all services.";
    };
    enableEmergencyMode = flag true "Whether a failed boot ends in a shell.";
    extraConfig = mkOption {
      type = types.lines;
      default = "";
      description = "Further lines of system.conf.";
    };
    settings.Manager = kinds.section { DefaultTimeoutStartSec = "60"; } "Settings of the manager.";
    oomd.enable = flag true "Whether systemd-oomd runs.";
    coredump.enable = flag true "Whether core dumps are kept.";
    watchdog.runtimeTime = nullable types.str "How long the machine may hang.";
    network = {
      enable = flag false "Whether systemd-networkd runs.";
      networks = mkOption {
        type = types.attrsOf (types.submodule { freeformType = types.attrsOf types.anything; });
        default = { };
        description = "Networks.";
      };
      netdevs = mkOption {
        type = types.attrsOf (types.submodule { freeformType = types.attrsOf types.anything; });
        default = { };
        description = "Virtual devices.";
      };
      links = mkOption {
        type = types.attrsOf (types.submodule { freeformType = types.attrsOf types.anything; });
        default = { };
        description = "Links.";
      };
      wait-online = open "How long the boot waits for the network.";
      config = open "Settings of systemd-networkd.";
    };
    tmpfiles = {
      rules = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "d /tmp 1777 root root 10d" ];
        description = "Rules of systemd-tmpfiles.";
      };
      packages = mkOption {
        type = types.listOf types.package;
        default = [ ];
        description = "Packages with rules.";
      };
      settings = mkOption {
        default = { };
        example = {
          "10-mypackage"."/var/lib/my-service/statefolder".d.mode = "0755";
        };
        description = "Rules of systemd-tmpfiles, by file, path and kind.";
        type = types.attrsOf (
          types.attrsOf (
            types.attrsOf (
              types.submodule (
                { name, ... }: {
                  options = {
                    type = text name "The kind of the rule.";
                    mode = text "-" "The mode.";
                    user = text "-" "The owner.";
                    group = text "-" "The group.";
                    age = text "-" "After what time content is removed.";
                    argument = text "" "The argument.";
                  };
                }
              )
            )
          )
        );
      };
    };
  };
  config = {
    systemd.timers = lib.mapAttrs (_: service: {
      wantedBy = [ "timers.target" ];
      timerConfig.OnCalendar = service.startAt;
    }) (lib.filterAttrs (_: service: service.enable && service.startAt != [ ]) cfg.services);
    environment.etc = lib.mkMerge [
      (lib.mkIf (tmpfiles != "") { "tmpfiles.d/00-nixos.conf".text = tmpfiles; })
      (lib.mkIf (cfg.settings.Manager != { } || cfg.extraConfig != "") {
        "systemd/system.conf.d/nixos.conf".text =
          "[Manager]\n" + lines cfg.settings.Manager + cfg.extraConfig;
      })
    ];
    system.build.standinUnits = units;
  };
}
