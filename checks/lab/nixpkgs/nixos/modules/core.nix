# Assertions, warnings, and what a system is called.
# Follows nixos/modules/misc/assertions.nix, nixos/modules/misc/version.nix, nixos/modules/misc/meta.nix,
#   nixos/modules/system/activation/top-level.nix.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  inherit (import ./declare.nix { inherit lib; }) strings;
in
{
  options = {
    assertions = mkOption {
      type = types.listOf types.unspecified;
      internal = true;
      default = [ ];
      description = "Conditions that must hold, each with a message; one that does not stops the evaluation.";
    };
    warnings = mkOption {
      type = types.listOf types.str;
      internal = true;
      default = [ ];
      description = "Warnings shown when the system is evaluated.";
    };
    meta = mkOption {
      type = types.submodule { freeformType = types.attrsOf types.raw; };
      internal = true;
      default = { };
      description = "Maintainers and documentation of modules.";
    };
    system = {
      build = mkOption {
        type = types.submodule { freeformType = types.lazyAttrsOf types.unspecified; };
        default = { };
        description = "Derivations that make up the system.";
      };
      stateVersion = mkOption {
        type = types.str;
        default = config.system.nixos.release;
        defaultText = lib.literalExpression "config.system.nixos.release";
        description = "The release whose defaults stateful data were made with.";
      };
      name = mkOption {
        type = types.str;
        default = if config.networking.hostName == "" then "unnamed" else config.networking.hostName;
        defaultText = lib.literalExpression "config.networking.hostName";
        description = "The name of the system in its store path.";
      };
      configurationRevision = mkOption {
        type = types.nullOr types.str;
        default = null;
        description = "The revision that the configuration was made from.";
      };
      extraDependencies = mkOption {
        type = types.listOf types.pathInStore;
        default = [ ];
        description = "Further paths in the closure of the system.";
      };
      nixos = {
        release = mkOption {
          type = types.str;
          readOnly = true;
          default = lib.release;
          description = "The NixOS release.";
        };
        version = mkOption {
          type = types.str;
          internal = true;
          default = lib.version;
          description = "The full NixOS version.";
        };
        versionSuffix = mkOption {
          type = types.str;
          internal = true;
          default = lib.versionSuffix;
          description = "What follows the release in the version.";
        };
        revision = mkOption {
          type = types.nullOr types.str;
          internal = true;
          default = null;
          description = "The revision of nixpkgs.";
        };
        codeName = mkOption {
          type = types.str;
          readOnly = true;
          default = lib.codeName;
          description = "The code name of the release.";
        };
        label = mkOption {
          type = types.strMatching "[a-zA-Z0-9:_.-]*";
          default = config.system.nixos.version;
          defaultText = lib.literalExpression "config.system.nixos.version";
          description = "The label of the system in boot menus.";
        };
        tags = strings [ ] "Tags in the label.";
        variant_id = mkOption {
          type = types.nullOr (types.strMatching "[a-z0-9._-]+");
          default = null;
          description = "The variant of the system.";
        };
      };
    };
  };
}
