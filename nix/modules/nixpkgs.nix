# The package set of a node. Apart from the other modules, because a test's nodes are given theirs from outside.
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
