# Snippets that run at every activation, and the checks before it.
# Follows nixos/modules/system/activation/pre-switch-check.nix, nixos/modules/system/activation/switchable-system.nix,
#   nixos/modules/system/activation/activation-script.nix.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  inherit (import ./declare.nix { inherit lib; }) flag strings;
  snippet = types.either types.str (
    types.submodule {
      options = {
        text = mkOption {
          type = types.lines;
          description = "The shell code.";
        };
        deps = strings [ ] "Snippets that come before this one.";
        supportsDryActivation = mkOption {
          type = types.bool;
          default = false;
          description = "Whether the snippet also runs, with NIXOS_ACTION=dry-activate, when nothing may change.";
        };
      };
    }
  );
  asSet =
    value:
    if lib.isString value then
      {
        text = value;
        deps = [ ];
        supportsDryActivation = false;
      }
    else
      value;
  snippets = lib.mapAttrs (_: asSet) config.system.activationScripts;
  # The names in the order of their dependencies. A missing snippet or a cycle is an error.
  visit =
    path: done: name:
    if lib.elem name done then
      done
    else if lib.elem name path then
      throw "system.activationScripts: ${lib.concatStringsSep " -> " (path ++ [ name ])} is a cycle"
    else if !(snippets ? ${name}) then
      throw "system.activationScripts: ${lib.last path} depends on ${name}, which does not exist"
    else
      lib.foldl' (visit (path ++ [ name ])) done snippets.${name}.deps ++ [ name ];
  ordered = lib.foldl' (visit [ ]) [ ] (lib.attrNames snippets);
in
{
  options.system = {
    activationScripts = mkOption {
      type = types.attrsOf snippet;
      default = { };
      example = lib.literalExpression ''{ hello.text = "echo hello"; }'';
      description = "Shell code that runs at every activation, in the order of `deps`.";
    };
    userActivationScripts = mkOption {
      type = types.attrsOf snippet;
      default = { };
      description = "Shell code that runs for each user at login.";
    };
    preSwitchChecks = mkOption {
      type = types.lazyAttrsOf types.str;
      default = { };
      example = lib.literalExpression ''{ failsEveryTime = "false"; }'';
      description = "Shell code, run with the new toplevel and the action, that must succeed before anything is changed.";
    };
    activatable = flag true "Whether the system has an activation script.";
    switch.enable = flag true "Whether the system has switch-to-configuration.";
    switch.inhibitors = mkOption {
      type = types.attrsOf types.str;
      default = { };
      description = "Strings that keep a system from being switched to while another one runs that has other strings of the same names.";
    };
    # The stand-in's own steps are among them, so that others can come before or after these.
    standinSnippets = mkOption {
      internal = true;
      readOnly = true;
      type = types.listOf types.raw;
      default = map (name: { inherit name; } // snippets.${name}) ordered;
      description = "The snippets in order.";
    };
  };
  config.system.build.inhibitSwitch = pkgs.writeText "switch-inhibitors" (
    lib.toJSON config.system.switch.inhibitors
  );
  # Nix reads the JSON, as a node may have no jq.
  config.system.preSwitchChecks.switchInhibitors = ''
    case $2 in boot | dry-activate) exit 0 ;; esac
    text() { cat "$1/switch-inhibitors" 2>/dev/null || echo '{ }'; }
    changed=$(nix-instantiate --eval --strict --argstr old "$(text /run/current-system)" --argstr new "$(text "$1")" --expr '
      { old, new }:
      let
        was = builtins.fromJSON old;
        is = builtins.fromJSON new;
      in
      builtins.filter (name: is ? ''${name} && is.''${name} != was.''${name}) (builtins.attrNames was)')
    [ "$changed" != '[ ]' ] || exit 0
    echo "There are changes to critical components of the system: $changed" >&2
    exit 1
  '';
  # The stand-in's own steps, whose functions are in ../switch. NixOS's other steps are empty.
  config.system.activationScripts = {
    specialfs.text = "";
    etc = {
      deps = [
        "users"
        "groups"
      ];
      text = "standin_etc";
      supportsDryActivation = true;
    };
    users = {
      deps = [ "specialfs" ];
      text = "standin_users";
      supportsDryActivation = true;
    };
    groups = {
      deps = [ "users" ];
      text = "";
    };
    var.text = "";
    stdio.text = "";
    binsh.text = "";
    usrbinenv.text = "";
  };
}
