# lib.nixosSystem: evaluates a system's modules together with the stand-in's own.
{
  lib,
  modules,
  system ? null,
  specialArgs ? { },
  extraModules ? [ ],
  baseModules ? import ./modules/list.nix,
  modulesLocation ? null,
  prefix ? [ ],
  pkgs ? null,
}:
let
  located =
    if modulesLocation == null then
      modules
    else
      map (lib.setDefaultModuleLocation modulesLocation) modules;
  evaluated = lib.evalModules {
    inherit prefix;
    class = "nixos";
    specialArgs = {
      modulesPath = toString ./modules;
    }
    // specialArgs;
    modules =
      baseModules
      ++ extraModules
      ++ [
        {
          _file = "nixosSystem";
          config = {
            _module.args = {
              inherit baseModules extraModules modules;
              utils = import ./utils.nix { inherit lib; };
            };
            nixpkgs.system = lib.mkIf (system != null) (lib.mkDefault system);
            nixpkgs.pkgs = lib.mkIf (pkgs != null) (lib.mkDefault pkgs);
          };
        }
      ]
      ++ located;
  };
  decorate =
    result:
    result
    // {
      inherit (result._module.args) pkgs;
      inherit lib;
      extraArgs = { };
      extendModules = args: decorate (result.extendModules args);
    };
in
decorate evaluated
