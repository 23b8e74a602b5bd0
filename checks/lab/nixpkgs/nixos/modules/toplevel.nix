# The system as one derivation, with the files of a NixOS toplevel, for a Debian node.
# Follows nixos/modules/system/activation/top-level.nix, nixos/modules/system/activation/activatable-system.nix.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  failed = map (one: one.message) (lib.filter (one: !one.assertion) config.assertions);
  sound =
    value:
    if failed != [ ] then
      throw "\nFailed assertions:\n${lib.concatMapStringsSep "\n" (message: "- ${message}") failed}"
    else
      lib.foldr lib.warn value config.warnings;

  etc = lib.filter (entry: entry.enable) (lib.attrValues config.environment.etc);
  units = config.system.build.standinUnits;
  pathOf = name: unit: "systemd/system/${if unit.addition then "${name}.d/overrides.conf" else name}";
  # The files of etc/: { path; text } or { path; source }.
  files =
    lib.mapAttrsToList (
      name: unit:
      if unit.enable then
        {
          path = pathOf name unit;
          inherit (unit) text;
        }
      else
        {
          path = "systemd/system/${name}";
          source = "/dev/null";
        }
    ) units
    ++ lib.concatLists (
      lib.mapAttrsToList (
        name: unit:
        lib.optionals unit.enable (
          map (target: link "${target}.wants/${name}" "../${name}") unit.wantedBy
          ++ map (target: link "${target}.requires/${name}" "../${name}") unit.requiredBy
          ++ map (target: link "${target}.upholds/${name}" "../${name}") unit.upheldBy
          ++ map (alias: link alias name) unit.aliases
        )
      ) units
    )
    ++ map (
      entry:
      if entry.standinFromText then
        {
          path = entry.target;
          inherit (entry) text;
        }
      else
        {
          path = entry.target;
          source = "${entry.source}";
        }
    ) etc;
  link = path: source: {
    path = "systemd/system/${path}";
    inherit source;
  };
  copies = lib.filter (entry: !lib.hasSuffix "symlink" entry.mode) etc;
  table = lib.concatMapStrings (row: lib.concatStringsSep "\t" row + "\n");

  texts =
    map (file: {
      path = "etc/${file.path}";
      inherit (file) text;
    }) (lib.filter (file: file ? text) files)
    ++ lib.imap0 (index: snippet: {
      path = "standin/activation/${lib.fixedWidthNumber 3 index}-${snippet.name}";
      inherit (snippet) text;
    }) snippets
    ++ lib.mapAttrsToList (name: text: {
      path = "standin/checks/${name}";
      inherit text;
    }) config.system.preSwitchChecks;
  snippets = config.system.standinSnippets;
  kernel = config.boot.kernelPackages.kernel;
  # In place of an initrd: a description of its parts, which shows whether it would change.
  initrd = builtins.toFile "initrd" (
    builtins.unsafeDiscardStringContext (
      lib.toJSON [
        kernel.version
        config.boot.initrd.availableKernelModules
        config.boot.initrd.kernelModules
        config.boot.initrd.network.enable
        config.boot.initrd.network.ssh.authorizedKeys
        (lib.attrNames config.boot.initrd.luks.devices)
      ]
    )
    + "\n"
  );
  build = config.system.build;
in
{
  options.system.systemBuilderCommands = mkOption {
    type = types.lines;
    internal = true;
    default = "";
    description = "Further commands that make the system.";
  };
  config.system.build.toplevel = sound (
    pkgs.runCommand "nixos-system-${config.system.name}-${config.system.nixos.label}"
      (
        {
          # The texts are files, which Nix numbers; textPaths has their names in the same order.
          passAsFile = [
            "textPaths"
            "sources"
            "copies"
            "dryRun"
            "notApplied"
            "programs"
            "hostKeys"
          ]
          ++ lib.imap0 (index: _: "text${toString index}") texts;
          textPaths = lib.concatMapStrings (text: text.path + "\n") texts;
          sources = table (
            map (file: [
              file.path
              file.source
            ]) (lib.filter (file: file ? source) files)
          );
          copies = table (
            map (entry: [
              entry.target
              entry.mode
              entry.user
              entry.group
            ]) copies
          );
          dryRun = lib.concatMapStrings (snippet: snippet.name + "\n") (
            lib.filter (snippet: snippet.supportsDryActivation) snippets
          );
          notApplied = lib.concatLines config.standin.notApplied;
          programs = table (
            lib.mapAttrsToList (_: one: [
              one.program
              one.option
            ]) config.standin.programs
          );
          hostKeys = table (
            map (key: [
              key.type
              (toString (key.bits or "-"))
              key.path
            ]) (lib.optionals config.services.openssh.generateHostKeys config.services.openssh.hostKeys)
          );
          version = config.system.nixos.label;
          platform = pkgs.hostPlatform.system;
          scripts = ../switch;
          users = build.standinUsers;
          sw = build.sw;
          kernelImage = "${kernel}/${config.system.boot.loader.kernelFile}";
          kernelTree = kernel;
          systemdTree = config.systemd.package;
          inherit initrd;
          initInterface = config.systemd.package.interfaceVersion or 2;
          execWheelOnly = build.standinSudoExecWheelOnly or false;
          sshd = build.standinSshd or false;
          inhibitors = build.inhibitSwitch;
          bootLoader = build.installBootLoader or "";
          extraDependencies = config.system.extraDependencies;
          passthru = { inherit config; };
        }
        // lib.listToAttrs (
          lib.imap0 (index: text: lib.nameValuePair "text${toString index}" text.text) texts
        )
      )
      ''
        source ${../switch/build.sh}
        ${config.system.systemBuilderCommands}
      ''
  );
}
