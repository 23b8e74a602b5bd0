# The node's name and clock.
{ config, lib, ... }:
let
  inherit (config) cluster;
in
{
  networking = {
    hostName = cluster.nodeName;
    inherit (cluster) domain;
  };

  time.timeZone = lib.mkDefault "UTC";
  services.timesyncd.enable = lib.mkDefault true;
}
