# Who the node is.
{ config, lib, ... }:
let
  inherit (config) cluster;
  node = cluster.nodes.${cluster.nodeName};
in
{
  nixpkgs.hostPlatform = lib.mkDefault node.system;

  networking = {
    hostName = cluster.nodeName;
    inherit (cluster) domain;
  };

  time.timeZone = lib.mkDefault "UTC";
  services.timesyncd.enable = lib.mkDefault true;
}
