# Addresses that the cluster's services use to reach its nodes.
{ lib, cluster }:
let
  inner =
    node:
    if cluster.wireguard.enable then
      node.wireguard.address
    else if node.address.ipv4 != null then
      node.address.ipv4
    else
      node.address.ipv6;
  servers = lib.attrNames (lib.filterAttrs (_: node: node.role == "server") cluster.nodes);
in
{
  # The address at which other nodes reach a node's Consul and Nomad: in the overlay where there is one.
  inherit inner;

  # The same address with brackets around IPv6, so that a port can follow.
  host =
    node:
    let
      address = inner node;
    in
    if lib.hasInfix ":" address then "[${address}]" else address;

  # The names of the nodes that vote.
  inherit servers;

  # The servers that a node joins, without itself. An agent that finds itself in `retry_join` counts as joined (Consul
  # 1.8.7, Nomad 1.6.10): if no other server answered at its start, it would never ask again.
  otherServers = lib.remove cluster.nodeName servers;
}
