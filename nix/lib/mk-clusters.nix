# `lib.mkClusters`: a folder of clusters → what the tool reads (`clusters`) and what the nodes run (`nixosConfigurations`).
#
#   dir          folder with one folder per cluster: cluster.nix, site/<site>.nix, node/<node>.nix
#   modules      NixOS modules for every node of every cluster
#   specialArgs  further arguments of all modules
#   nixpkgs      flake of the package set; this flake's own by default
{ nixpkgs }:
let
  default = nixpkgs;
in
{
  dir,
  modules ? [ ],
  specialArgs ? { },
  nixpkgs ? default,
}:
let
  inherit (nixpkgs) lib;

  names = lib.attrNames (
    lib.filterAttrs (
      name: type: type == "directory" && builtins.pathExists (dir + "/${name}/cluster.nix")
    ) (builtins.readDir dir)
  );

  clusters = lib.genAttrs names (
    name:
    import ./cluster.nix {
      inherit
        lib
        nixpkgs
        dir
        name
        modules
        specialArgs
        ;
    }
  );
in
{
  clusters = lib.mapAttrs (_: cluster: cluster.data) clusters;

  nixosConfigurations = lib.concatMapAttrs (
    name: cluster:
    lib.mapAttrs' (node: system: lib.nameValuePair "${name}-${node}" system) cluster.systems
  ) clusters;
}
