# The package set of a node. It is separate from the other modules, because nodes of tests get theirs from outside.
{ config, lib, ... }:
let
  inherit (config) cluster;
in
{
  nixpkgs = {
    hostPlatform = lib.mkDefault cluster.nodes.${cluster.nodeName}.system;
    config.allowUnfreePredicate = import ../lib/unfree.nix { inherit lib; };
  };
}
