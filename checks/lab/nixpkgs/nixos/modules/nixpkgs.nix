# The package set of a system.
# Follows nixos/modules/misc/nixpkgs.nix.
{
  config,
  options,
  lib,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.nixpkgs;
  system = if options.nixpkgs.hostPlatform.isDefined then cfg.hostPlatform.system else cfg.system;
in
{
  options.nixpkgs = {
    pkgs = mkOption {
      type = types.pkgs;
      description = "The package set itself, in place of one made of the other options.";
      example = lib.literalExpression "import <nixpkgs> { }";
    };
    config = mkOption {
      type = types.lazyAttrsOf types.raw;
      default = { };
      example = {
        allowUnfree = true;
      };
      description = "The configuration of the package set.";
    };
    overlays = mkOption {
      type = types.listOf (
        types.uniq (types.addCheck types.raw lib.isFunction // { description = "nixpkgs overlay"; })
      );
      default = [ ];
      description = "Overlays over the package set.";
    };
    hostPlatform = mkOption {
      type = types.either types.str types.attrs;
      apply = lib.systems.elaborate;
      example = "x86_64-linux";
      description = "The platform that the system runs on.";
    };
    buildPlatform = mkOption {
      type = types.either types.str types.attrs;
      apply = lib.systems.elaborate;
      default = cfg.hostPlatform;
      defaultText = lib.literalExpression "config.nixpkgs.hostPlatform";
      description = "The platform that the system is built on.";
    };
    system = mkOption {
      type = types.str;
      internal = true;
      default = throw "Neither nixpkgs.hostPlatform nor the argument `system` of nixosSystem is set.";
      description = "The older form of nixpkgs.hostPlatform.";
    };
    flake.source = mkOption {
      type = types.nullOr (types.either types.str types.path);
      default = null;
      description = "Where the nixpkgs of the system came from.";
    };
  };
  config._module.args.pkgs = lib.mkForce (
    if options.nixpkgs.pkgs.isDefined then
      (if cfg.overlays == [ ] then cfg.pkgs else cfg.pkgs.appendOverlays cfg.overlays)
    else
      import ../../pkgs {
        inherit lib system;
        inherit (cfg) overlays config;
      }
  );
}
