# What is wrong with a cluster's model, as a list of sentences. Each names the file or the node at which to look.
{
  lib,
  label,
  siteNames,
  nodeNames,
  siteOf,
  sites,
  nodes,
  ofSite,
  ofNode,
}:
let
  quote = names: lib.concatStringsSep ", " names;
  nodeAt = node: "node ${node} (${label}/node/${node}.nix)";

  # Files first: nothing else can be evaluated while a node's site is missing or a file is about something else.
  missingSites = lib.concatMap (
    node:
    lib.optional (!lib.elem siteOf.${node} siteNames)
      "${nodeAt node} names the site ‘${siteOf.${node}}’, but there is no ${label}/site/${siteOf.${node}}.nix; sites: ${
        if siteNames == [ ] then "none" else quote siteNames
      }"
  ) nodeNames;

  foreign =
    kind: names: declaredIn:
    lib.concatMap (
      name:
      map (
        other:
        "${label}/${kind}/${name}.nix describes the ${kind} ‘${other}’; it may describe ‘${name}’ alone: rename the file or the attribute"
      ) (lib.filter (other: other != name) (lib.attrNames (declaredIn name)))
    ) names;

  ofFiles =
    lib.optional (nodeNames == [ ]) "it has no node: there is no file in ${label}/node/"
    ++ missingSites
    ++ foreign "site" siteNames (site: ofSite.${site}.sites)
    ++ lib.optionals (missingSites == [ ]) (foreign "node" nodeNames (node: ofNode.${node}.nodes));

  # The nodes that have the same value of something: [ { value; holders; } ].
  shared =
    valuesOf:
    let
      holders = lib.foldAttrs (node: found: [ node ] ++ found) [ ] (
        lib.concatMap (node: map (value: { ${value} = node; }) (valuesOf nodes.${node})) nodeNames
      );
    in
    lib.mapAttrsToList (value: holders: { inherit value holders; }) (
      lib.filterAttrs (_: holders: lib.length holders > 1) holders
    );

  duplicates =
    what: valuesOf:
    map ({ value, holders }: "${what} ${value} belongs to more than one node: ${quote holders}") (
      shared valuesOf
    );

  present = lib.filter (value: value != null);

  servers = lib.filter (node: nodes.${node}.role == "server") nodeNames;

  withoutAddress = lib.filter (
    node: nodes.${node}.address.ipv4 == null && nodes.${node}.address.ipv6 == null
  ) nodeNames;

  withoutAdmin = lib.filter (
    node: lib.all (admin: admin.keys == [ ]) (lib.attrValues ofNode.${node}.admins)
  ) nodeNames;

  ofModel =
    duplicates "the IPv4 address" (node: present [ node.address.ipv4 ])
    ++ duplicates "the IPv6 address" (node: present [ node.address.ipv6 ])
    ++ map (node: "${nodeAt node} has no address: set cluster.nodes.${node}.address.ipv4 or .ipv6") withoutAddress
    ++ lib.optional (servers == [ ])
      "no node has the role ‘server’: Consul and Nomad need one, and three to outlive the loss of one"
    ++ lib.optional (servers != [ ] && lib.mod (lib.length servers) 2 == 0)
      "it has ${toString (lib.length servers)} servers (${quote servers}): an even number outlives no more losses than one fewer, and ties votes; make it odd"
    ++ map (
      node:
      "${nodeAt node} would have no administrator with an SSH key: set cluster.admins.<user>.keys in ${label}/cluster.nix or ${label}/site/${siteOf.${node}}.nix"
    ) withoutAdmin;
in
if ofFiles != [ ] then ofFiles else ofModel
