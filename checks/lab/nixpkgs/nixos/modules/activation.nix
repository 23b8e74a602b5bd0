# Snippets that run at every activation, and the checks before it.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  snippet = types.either types.str (
    types.submodule {
      options = {
        text = mkOption {
          type = types.lines;
          description = "The shell code.";
        };
        deps = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "Snippets that come before this one.";
        };
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
  # Names in the order of their dependencies; a snippet that is named and not there, or a cycle, is an error.
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
      description = "Shell code, run with the action and the toplevel, that must succeed before anything is changed.";
    };
    activatable = mkOption {
      type = types.bool;
      default = true;
      description = "Whether the system has an activation script.";
    };
    switch.enable = mkOption {
      type = types.bool;
      default = true;
      description = "Whether the system has switch-to-configuration.";
    };
    switch.enableNg = mkOption {
      type = types.bool;
      default = true;
      visible = false;
      description = "Of old; has no effect.";
    };
    # The steps of the stand-in itself have these names, for snippets that come before or after them.
    standinSnippets = mkOption {
      internal = true;
      readOnly = true;
      type = types.listOf types.raw;
      default = map (name: { inherit name; } // snippets.${name}) ordered;
      description = "The snippets in order.";
    };
  };
  # What these names stand for is done by switch-to-configuration, around the marks.
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
