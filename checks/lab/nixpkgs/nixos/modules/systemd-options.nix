# The options of one unit, by kind.
# Follows nixos/lib/systemd-unit-options.nix.
{ lib }:
let
  inherit (lib) mkOption types;
  inherit (import ./declare.nix { inherit lib; }) flag;
  list =
    description:
    mkOption {
      type = types.listOf types.str;
      default = [ ];
      inherit description;
    };
  # A name without its suffix is an error.
  unitName = types.strMatching "[a-zA-Z0-9@%:_.\\-]+[.](service|socket|device|mount|automount|swap|target|path|timer|scope|slice)";
  units =
    description:
    mkOption {
      type = types.listOf unitName;
      default = [ ];
      inherit description;
    };
  lines =
    default: description:
    mkOption {
      type = types.lines;
      inherit default description;
    };
  # A setting has one value or a list. Lists are joined.
  setting =
    let
      isOne =
        value:
        value == null
        || lib.isBool value
        || lib.isInt value
        || lib.isFloat value
        || lib.strings.isStringLike value;
    in
    lib.mkOptionType {
      name = "systemd option";
      description = "systemd option";
      check = value: isOne value || lib.isList value && lib.all isOne value;
      merge =
        loc: definitions:
        if lib.any (definition: lib.isList definition.value) definitions then
          lib.concatMap (definition: lib.toList definition.value) definitions
        else
          lib.mergeEqualOption loc definitions;
    };
  section =
    example: description:
    mkOption {
      type = types.attrsOf setting;
      default = { };
      inherit example description;
    };
in
rec {
  inherit setting section unitName;
  common = {
    enable = flag true "Whether the unit is there; a unit that is not is masked.";
    overrideStrategy = mkOption {
      type = types.enum [
        "asDropinIfExists"
        "asDropin"
      ];
      default = "asDropinIfExists";
      description = "Whether the settings are put beside a unit of a package.";
    };
    description = mkOption {
      type = types.singleLineStr;
      default = "";
      description = "What the unit is.";
    };
    documentation = list "Where it is documented.";
    requires = units "Units that must be started with this one.";
    wants = units "Units that are started with this one.";
    upholds = units "Units that are kept up as long as this one is.";
    after = units "Units that are started before this one.";
    before = units "Units that are started after this one.";
    bindsTo = units "Units with which this one stops.";
    partOf = units "Units with which this one stops and restarts.";
    conflicts = units "Units that cannot run with this one.";
    requisite = units "Units that must already run.";
    onFailure = units "Units that are started when this one fails.";
    onSuccess = units "Units that are started when this one ends well.";
    wantedBy = units "Units that want this one.";
    requiredBy = units "Units that require this one.";
    upheldBy = units "Units that uphold this one.";
    aliases = units "Further names.";
    unitConfig = section { RequiresMountsFor = "/data"; } "Settings of the section [Unit].";
    startLimitBurst = mkOption {
      type = types.int;
      description = "How often the unit may start in the interval.";
    };
    startLimitIntervalSec = mkOption {
      type = types.int;
      description = "That interval, in seconds.";
    };
    restartTriggers = mkOption {
      type = types.listOf types.unspecified;
      default = [ ];
      description = "Values with which the unit is restarted when they change.";
    };
    reloadTriggers = mkOption {
      type = types.listOf setting;
      default = [ ];
      description = "Values with which the unit is reloaded when they change.";
    };
    name = mkOption {
      type = types.str;
      description = "The unit's file name.";
    };
  };
  service = {
    stopIfChanged = flag true "Whether a changed unit is stopped before the activation and started after it, in place of a restart.";
    restartIfChanged = flag true "Whether a changed unit is restarted.";
    reloadIfChanged = flag false "Whether a changed unit is reloaded in place of a restart.";
    notSocketActivated = flag false "Whether a changed unit is restarted although a socket starts it.";
    environment = mkOption {
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
      description = "The environment of the processes.";
    };
    path = mkOption {
      type = types.listOf (
        types.oneOf [
          types.package
          types.str
        ]
      );
      default = [ ];
      description = "Packages in PATH.";
    };
    enableDefaultPath = flag true "Whether usual programs are in PATH.";
    serviceConfig = section { Restart = "on-failure"; } "Settings of the section [Service].";
    confinement.enable = flag false "Whether the service is confined to its closure.";
    enableStrictShellChecks = flag false "Whether scripts are checked by shellcheck.";
    script = lines "" "The main program, as shell code.";
    scriptArgs = mkOption {
      type = types.str;
      default = "";
      description = "Arguments of the script.";
    };
    preStart = lines "" "Shell code before the start.";
    postStart = lines "" "Shell code after the start.";
    reload = lines "" "Shell code that reloads the service.";
    preStop = lines "" "Shell code that stops the service.";
    postStop = lines "" "Shell code after the stop.";
    jobScripts = mkOption {
      type = types.listOf types.path;
      internal = true;
      default = [ ];
      description = "The scripts' files.";
    };
    startAt = mkOption {
      type = types.either types.str (types.listOf types.str);
      apply = lib.toList;
      default = [ ];
      example = "Sun 14:00:00";
      description = "When a timer starts the service.";
    };
  };
  timer.timerConfig = section { OnCalendar = "daily"; } "Settings of the section [Timer].";
  path.pathConfig = section { PathExists = "/some/path"; } "Settings of the section [Path].";
  socket = {
    listenStreams = list "Stream addresses.";
    listenDatagrams = list "Datagram addresses.";
    socketConfig = section { ListenStream = "/run/socket"; } "Settings of the section [Socket].";
  };
  slice.sliceConfig = section { MemoryMax = "2G"; } "Settings of the section [Slice].";
  target = { };
  mount = {
    what = mkOption {
      type = types.str;
      description = "What is mounted.";
    };
    where = mkOption {
      type = types.str;
      description = "Where.";
    };
    type = mkOption {
      type = types.str;
      default = "";
      description = "The file system's type.";
    };
    options = mkOption {
      type = types.commas;
      default = "";
      description = "Options of the mount.";
    };
    mountConfig = section { DirectoryMode = "0775"; } "Settings of the section [Mount].";
  };
}
