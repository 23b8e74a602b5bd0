# What the tool reads of a cluster: plain data, schema 1, described in doc/cluster-schema.md. Each field is named here,
# so that a change of the options alone neither exposes a value nor changes the shape.
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

  # The administrators of all nodes, those of single sites included; each node lists its own.
  admins = lib.foldl' (known: model: model.admins // known) whole.admins (lib.attrValues ofSite);

  # A secret may be declared for the cluster, a site or a node. A node gets it if the node's files declare it and its
  # selectors match the node.
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
      # systemd's dynamic user cannot own files before the service runs, so a group reads them.
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
