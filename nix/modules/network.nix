# The node's static addresses, if the cluster's files name their interface.
{ config, lib, ... }:
let
  inherit (config) cluster;
  node = cluster.nodes.${cluster.nodeName};
  site = cluster.sites.${node.site};

  address =
    family:
    lib.optional (node.address.${family} != null) {
      address = node.address.${family};
      prefixLength = site.prefixLength.${family};
    };

  gateway =
    family:
    lib.mkIf (node.address.${family} != null && site.gateway.${family} != null) {
      address = site.gateway.${family};
      inherit (node) interface;
    };
in
{
  config = lib.mkMerge [
    { networking.nameservers = lib.mkDefault site.nameservers; }

    (lib.mkIf (node.interface != null) {
      networking = {
        useDHCP = false;
        interfaces.${node.interface} = {
          ipv4.addresses = address "ipv4";
          ipv6.addresses = address "ipv6";
        };
        defaultGateway = gateway "ipv4";
        defaultGateway6 = gateway "ipv6";
      };
    })
  ];
}
