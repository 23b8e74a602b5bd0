# Addresses of a cluster's nodes, as its services use them.
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
  # The one address by which the other nodes reach a node's Consul and Nomad: of the overlay where there is one.
  inherit inner;

  # The same where a port may follow: an IPv6 address in brackets.
  host =
    node:
    let
      address = inner node;
    in
    if lib.hasInfix ":" address then "[${address}]" else address;

  # The names of the nodes that vote.
  inherit servers;

  # The servers that a node joins. An agent that finds itself in its list has joined (Consul's and Nomad's `retry_join`):
  # where no other server answers at its start, it would never ask again.
  otherServers = lib.remove cluster.nodeName servers;
}
