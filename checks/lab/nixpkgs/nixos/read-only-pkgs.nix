# The package set is given; what would change it is refused.
{ lib, config, ... }:
{
  config.assertions = [
    {
      assertion = config.nixpkgs.overlays == [ ] && config.nixpkgs.config == { };
      message = "nixpkgs.config and nixpkgs.overlays are read-only here: set them where nixpkgs is imported.";
    }
  ];
}
