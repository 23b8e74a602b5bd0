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
  select = import ./select.nix { inherit lib nodes; };

  # An administrator of one site alone is one of the cluster's as well; the nodes tell which are whose.
  admins = lib.foldl' (known: model: model.admins // known) whole.admins (lib.attrValues ofSite);

  # A secret may be declared for the whole cluster, for a site or for a node; a node gets what its own files say and
  # select it for.
  getsSecret =
    secret: node:
    ofNode.${node}.secrets ? ${secret}
    && lib.elem node (select.selected ofNode.${node}.secrets.${secret}.nodes);
  secrets = lib.foldl' (known: model: model.secrets // known) { } (lib.attrValues ofNode);
in
{
  schema = 1;
  inherit name;
  inherit (whole) domain secretsPrefix mutableUsers;

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
      wireguard
      checks
      ;
    inherit (ofNode.${node}) mutableUsers;
    admins = lib.attrNames ofNode.${node}.admins;
    configuration = "${name}-${node}";
  }) nodes;

  admins = lib.mapAttrs (_: admin: { inherit (admin) keys passwordFile; }) admins;

  secrets = lib.mapAttrs (secret: settings: {
    inherit (settings)
      generator
      length
      command
      path
      owner
      group
      mode
      perNode
      reloadUnits
      restartUnits
      ;
    nodes = lib.filter (getsSecret secret) (lib.attrNames nodes);
  }) secrets;

  pki = {
    inherit (whole.pki) perNode;
    consul = {
      inherit (whole.pki.consul) directory;
      owner = "consul";
      group = "consul";
      groupReads = false;
      unit = "consul.service";
    };
    nomad = {
      inherit (whole.pki.nomad) directory;
      owner = "root";
      # A user that is made up has no name by which files could be given to it.
      group = if whole.nomad.dropPrivileges then "nomad-pki" else "root";
      groupReads = whole.nomad.dropPrivileges;
      unit = "nomad.service";
    };
  };

  consul = {
    inherit (whole.consul) enable httpsPort;
    datacenter = name;
    domain = "consul";
  };

  nomad = {
    inherit (whole.nomad) enable httpPort scheduler;
    region = name;
  };

  apps = {
    inherit (whole.apps) order;
  };

  forwards = lib.mapAttrs (_: forward: { inherit (forward) localPort host port; }) whole.forwards;
}
