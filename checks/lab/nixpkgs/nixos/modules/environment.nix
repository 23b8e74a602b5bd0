# Packages and variables for everybody.
# Follows nixos/modules/config/shells-environment.nix, nixos/modules/config/system-environment.nix,
#   nixos/modules/config/system-path.nix.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  inherit (import ./declare.nix { inherit lib; }) flag strings lines;
  cfg = config.environment;
  variable = types.oneOf [
    (types.listOf (
      types.oneOf [
        types.int
        types.str
        types.path
      ]
    ))
    types.int
    types.str
    types.path
  ];
  variables =
    description:
    mkOption {
      type = types.attrsOf (types.nullOr variable);
      default = { };
      example = {
        EDITOR = "nano";
      };
      inherit description;
      apply = lib.mapAttrs (
        _: value: if lib.isList value then lib.concatMapStringsSep ":" toString value else value
      );
    };
  exports = lib.concatStrings (
    lib.mapAttrsToList (name: value: "export ${name}=${lib.escapeShellArg value}\n") (
      lib.filterAttrs (_: value: value != null) (cfg.variables // cfg.sessionVariables)
    )
  );
in
{
  options.environment = {
    systemPackages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      example = lib.literalExpression "[ pkgs.git ]";
      description = "Packages in everybody's PATH, as /run/current-system/sw.";
    };
    defaultPackages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      description = "Packages that are there unless unwanted.";
    };
    pathsToLink = strings [ ] "Folders of packages that are linked into /run/current-system/sw.";
    extraOutputsToInstall = strings [ ] "Further outputs of packages.";
    variables = variables "Variables in everybody's environment.";
    sessionVariables = variables "Variables that login sessions have.";
    shellAliases = mkOption {
      type = types.attrsOf (types.nullOr (types.either types.str types.path));
      default = { };
      description = "Aliases in interactive shells.";
    };
    shellInit = lines "Shell code run by every shell.";
    interactiveShellInit = lines "Shell code run by interactive shells.";
    loginShellInit = lines "Shell code run by login shells.";
    shells = mkOption {
      type = types.listOf (types.either types.shellPackage types.path);
      default = [ ];
      description = "Shells that users may have.";
    };
    binsh = mkOption {
      type = types.path;
      default = "/bin/sh";
      description = "The shell at /bin/sh.";
    };
    noXlibs = flag false "Of old; has no effect.";
    stub-ld.enable = mkOption {
      type = types.bool;
      default = false;
      description = "Whether foreign programs get a message instead of an absent loader.";
    };
  };
  config = {
    environment.pathsToLink = [
      "/bin"
      "/etc/xdg"
      "/share"
      "/sbin"
    ];
    # Debian's login shells read this folder.
    environment.etc."profile.d/nixos.sh".text = ''
      export PATH=$PATH:/run/current-system/sw/bin
      ${exports}${cfg.shellInit}
      ${cfg.loginShellInit}
    '';
    system.build.sw = pkgs.buildEnv {
      name = "system-path";
      paths = lib.unique (cfg.systemPackages ++ cfg.defaultPackages);
      inherit (cfg) pathsToLink;
    };
  };
}
