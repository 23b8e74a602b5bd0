# What is wrong with a cluster's model: a list of sentences, each of which names the file or node to look at.
{
  lib,
  label,
  siteNames,
  nodeNames,
  siteOf,
  whole,
  nodes,
  ofSite,
  ofNode,
}:
let
  quote = names: lib.concatStringsSep ", " names;
  nodeAt = node: "node ${node} (${label}/node/${node}.nix)";

  # Files come first: nothing else can be evaluated while a node's site is missing or a file describes another thing.
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

  own = import ./types.nix { inherit lib; };

  # A file has the name of what it describes, which must be a host name.
  misnamed =
    kind: names:
    map (
      name: "${label}/${kind}/${name}.nix: ‘${name}’ is no name of a ${kind}: ${own.label.description}"
    ) (lib.filter (name: !own.label.check name) names);

  ofFiles =
    lib.optional (nodeNames == [ ]) "it has no node: there is no file in ${label}/node/"
    ++ misnamed "site" siteNames
    ++ misnamed "node" nodeNames
    ++ missingSites
    ++ foreign "site" siteNames (site: ofSite.${site}.sites)
    ++ lib.optionals (missingSites == [ ]) (foreign "node" nodeNames (node: ofNode.${node}.nodes));

  # Values that several nodes have: [ { value; holders; } ].
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

  select = import ./select.nix { inherit lib nodes; };

  secretsAt = lib.concatMap (
    node:
    lib.mapAttrsToList (secret: settings: { inherit node secret settings; }) ofNode.${node}.secrets
  ) nodeNames;

  # Without repetitions: every node has the secrets of the whole cluster.
  unmatchedSelectors = lib.unique (
    lib.concatMap (
      { secret, settings, ... }:
      map (word: "the secret ‘${secret}’ is for ‘${word}’, which is no node; nodes: ${quote nodeNames}") (
        select.unmatched settings.nodes
      )
    ) secretsAt
  );

  # All nodes must declare a secret alike: it has one file and one generator.
  differingSecrets = lib.concatLists (
    lib.mapAttrsToList (
      secret: at:
      lib.optional (lib.any (other: other.settings != (lib.head at).settings) at)
        "the secret ‘${secret}’ is declared differently for ${
          quote (map (other: other.node) at)
        }: give them different names"
    ) (lib.groupBy (one: one.secret) secretsAt)
  );

  withoutCommand = lib.unique (
    lib.concatMap (
      { secret, settings, ... }:
      lib.optional ((settings.generator == "command") != (settings.command != [ ])) (
        if settings.command == [ ] then
          "the secret ‘${secret}’ has the generator ‘command’, but cluster.secrets.${secret}.command is empty"
        else
          "the secret ‘${secret}’ has a command, but its generator is ‘${settings.generator}’: set it to ‘command’"
      )
    ) secretsAt
  );

  # The secrets that a node gets, grouped by file.
  filesOf =
    node:
    let
      inherit (ofNode.${node}) secrets;
      gets = lib.filter (secret: lib.elem node (select.selected secrets.${secret}.nodes)) (
        lib.attrNames secrets
      );
    in
    lib.groupBy (secret: secrets.${secret}.path) gets;

  sharedFiles = lib.concatMap (
    node:
    lib.mapAttrsToList (
      path: secrets:
      "the secrets ${quote secrets} would be written to the same file ${path} on node ${node}"
    ) (lib.filterAttrs (_: secrets: lib.length secrets > 1) (filesOf node))
  ) nodeNames;

  # A check is of exactly one kind.
  unclearChecks = lib.concatMap (
    node:
    lib.concatLists (
      lib.mapAttrsToList (
        name: check:
        lib.optional (
          lib.length (present [
            check.command
            check.http
            check.tcp
          ]) != 1
        ) "the check ‘${name}’ of ${nodeAt node} must have one of command, http and tcp"
      ) nodes.${node}.checks
    )
  ) nodeNames;

  localPorts = lib.concatMap (
    port:
    let
      holders = lib.attrNames (lib.filterAttrs (_: forward: forward.localPort == port) whole.forwards);
    in
    lib.optional (
      lib.length holders > 1
    ) "the forwards ${quote holders} have the same local port ${toString port}"
  ) (lib.unique (lib.mapAttrsToList (_: forward: forward.localPort) whole.forwards));

  outsideOverlay = lib.optionals whole.wireguard.enable (
    lib.filter (node: nodes.${node}.wireguard.address == null) nodeNames
  );

  withoutAdmin = lib.filter (
    node: lib.all (admin: admin.keys == [ ]) (lib.attrValues ofNode.${node}.admins)
  ) nodeNames;

  # Administrators must have valid user names. Without repetitions, as above.
  misnamedAdmins = lib.unique (
    lib.concatMap (
      node:
      map (
        admin:
        "the administrator ‘${admin}’ of ${label}/cluster.nix or ${label}/site/${siteOf.${node}}.nix: this is no ${own.userName.description}"
      ) (lib.filter (admin: !own.userName.check admin) (lib.attrNames ofNode.${node}.admins))
    ) nodeNames
  );

  # Without an overlay, nodes reach each other at the one address that `address.nix` chooses: IPv4 where a node has it.
  byFamily = lib.partition (node: nodes.${node}.address.ipv4 != null) nodeNames;
  divided =
    lib.optional
      (
        !whole.wireguard.enable && withoutAddress == [ ] && byFamily.right != [ ] && byFamily.wrong != [ ]
      )
      "no IPv4 address: ${quote byFamily.wrong}; reached by IPv4: ${quote byFamily.right}. Consul and Nomad on the first and on the others would not find each other: give all nodes addresses of one family, or set cluster.wireguard.enable";

  ofModel =
    duplicates "the IPv4 address" (node: present [ node.address.ipv4 ])
    ++ duplicates "the IPv6 address" (node: map (import ./ipv6.nix { inherit lib; }).expanded (present [ node.address.ipv6 ]))
    ++ duplicates "the overlay's address" (node: present [ node.wireguard.address ])
    ++ duplicates "the WireGuard key" (node: present [ node.wireguard.publicKey ])
    ++ map (
      node: "${nodeAt node} has no address in the overlay: set cluster.nodes.${node}.wireguard.address"
    ) outsideOverlay
    ++ divided
    ++ misnamedAdmins
    ++ unmatchedSelectors
    ++ differingSecrets
    ++ withoutCommand
    ++ sharedFiles
    ++ localPorts
    ++ unclearChecks
    ++ map (
      node: "${nodeAt node} has no address: set cluster.nodes.${node}.address.ipv4 or .ipv6"
    ) withoutAddress
    ++ lib.optional (
      servers == [ ]
    ) "no node has the role ‘server’: Consul and Nomad need one, and three to outlive the loss of one"
    ++
      lib.optional (servers != [ ] && lib.mod (lib.length servers) 2 == 0)
        "it has ${toString (lib.length servers)} servers (${quote servers}): an even number outlives no more losses than one fewer, and ties votes; make it odd"
    ++ map (
      node:
      "${nodeAt node} would have no administrator with an SSH key: set cluster.admins.<user>.keys in ${label}/cluster.nix or ${label}/site/${siteOf.${node}}.nix"
    ) withoutAdmin;
in
if ofFiles != [ ] then ofFiles else ofModel
