# Refuses settings that would change the given package set.
{ lib, config, ... }:
{
  config.assertions = [
    {
      assertion = config.nixpkgs.overlays == [ ] && config.nixpkgs.config == { };
      message = "nixpkgs.config and nixpkgs.overlays are read-only here: set them where nixpkgs is imported.";
    }
  ];
}
