# `import nixpkgs { system; config; overlays; }`: the stand-in's package set.
{
  system ? localSystem.system or localSystem,
  localSystem ? builtins.currentSystem,
  config ? { },
  overlays ? [ ],
  crossSystem ? null,
}:
assert crossSystem == null || throw "the stand-in for nixpkgs does not cross-compile";
import ./pkgs {
  lib = import ./lib;
  inherit system config overlays;
}
