# What the tool reads of a cluster: plain data, schema 1, described in doc/cluster-schema.md. Fields are named here one by
# one, so that nothing gets out, and nothing changes its shape, by a change of the options alone.
{
  lib,
  name,
  whole,
  sites,
  nodes,
  ofNode,
  ofSite,
}:
let
  # An administrator of one site alone is one of the cluster's as well; the nodes tell which are whose.
  admins = lib.foldl' (known: model: model.admins // known) whole.admins (lib.attrValues ofSite);
in
{
  schema = 1;
  inherit name;
  inherit (whole) domain secretsPrefix;

  sites = lib.mapAttrs (_: site: {
    inherit (site)
      description
      gateway
      prefixLength
      publicAddress
      nameservers
      ;
  }) sites;

  nodes = lib.mapAttrs (node: settings: {
    inherit (settings)
      site
      system
      role
      tags
      address
      ssh
      ;
    admins = lib.attrNames ofNode.${node}.admins;
    configuration = "${name}-${node}";
  }) nodes;

  admins = lib.mapAttrs (_: admin: { inherit (admin) keys passwordFile; }) admins;
}
