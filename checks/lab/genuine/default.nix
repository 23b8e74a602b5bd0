# `import nixpkgs { … }`: nixpkgs with Debian's packages as its only stage.
{
  localSystem ? {
    system = arguments.system or builtins.currentSystem;
  },
  config ? { },
  overlays ? [ ],
  ...
}@arguments:
import "${import ./source.nix}/pkgs/top-level" {
  localSystem = if builtins.isString localSystem then { system = localSystem; } else localSystem;
  inherit config;
  overlays = (import ./set.nix).overlays ++ overlays;
  stdenvStages = import ./stdenv.nix;
}
