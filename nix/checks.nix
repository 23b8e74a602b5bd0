# `nix flake check`.
{
  lib,
  pkgs,
  self,
  system,
}:
{
  package = self.packages.${system}.nixcfg;
}
