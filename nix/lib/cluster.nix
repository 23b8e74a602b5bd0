# One cluster: its model, evaluated from its files alone, and the systems of its nodes.
{
  lib,
  nixpkgs,
  dir,
  name,
  modules,
  specialArgs,
}:
let
  root = dir + "/${name}";

  # How messages name a file: by its path from the root of the repository.
  label = "${baseNameOf (toString dir)}/${name}";

  # Names of the files `<name>.nix` in a folder of the cluster.
  namesIn =
    folder:
    if builtins.pathExists (root + "/${folder}") then
      map (lib.removeSuffix ".nix") (
        lib.attrNames (
          lib.filterAttrs (file: type: type != "directory" && lib.hasSuffix ".nix" file) (
            builtins.readDir (root + "/${folder}")
          )
        )
      )
    else
      [ ];

  siteNames = namesIn "site";
  nodeNames = namesIn "node";

  clusterFile = root + "/cluster.nix";
  siteFile = site: root + "/site/${site}.nix";
  nodeFile = node: root + "/node/${node}.nix";

  # The model, evaluated from some of the files. They are NixOS modules and may set any option of NixOS; what is not
  # below `cluster` is never evaluated.
  evaluate =
    files:
    (lib.evalModules {
      specialArgs = {
        modulesPath = "${nixpkgs}/nixos/modules";
      }
      // specialArgs;
      modules = [
        ../model
        {
          _module.check = false;
          _module.args.pkgs = throw "cluster.* of ${label} is made of `pkgs`: the model of a cluster is plain data, for which no package set is evaluated";
          cluster.name = name;
        }
      ]
      ++ modules
      ++ [ clusterFile ]
      ++ files;
    }).config.cluster;

  whole = evaluate [ ];

  # A node's site is read first: it decides which site file belongs to the node.
  siteOf = lib.genAttrs nodeNames (
    node:
    let
      declared = (evaluate [ (nodeFile node) ]).nodes;
    in
    declared.${node}.site or (throw "${label}/node/${node}.nix does not set cluster.nodes.${node}.site")
  );

  ofSite = lib.genAttrs siteNames (site: evaluate [ (siteFile site) ]);
  ofNode = lib.genAttrs nodeNames (
    node:
    evaluate [
      { cluster.nodeName = node; }
      (siteFile siteOf.${node})
      (nodeFile node)
    ]
  );

  sites = lib.mapAttrs (site: model: model.sites.${site} or (siteDefaults site)) ofSite;
  siteDefaults = site: (evaluate [ { cluster.sites.${site} = { }; } ]).sites.${site};
  nodes = lib.mapAttrs (node: model: model.nodes.${node}) ofNode;

  problems = import ./problems.nix {
    inherit
      lib
      label
      siteNames
      nodeNames
      siteOf
      whole
      nodes
      ofSite
      ofNode
      ;
  };

  # Reports all problems at once, before anything uses the value.
  checked =
    value:
    if problems == [ ] then
      value
    else
      throw "cluster ‘${name}’ cannot be used:\n${
        lib.concatMapStrings (problem: "- ${problem}\n") problems
      }";
in
{
  data = checked (
    import ./data.nix {
      inherit
        lib
        name
        whole
        sites
        nodes
        ofNode
        ofSite
        ;
    }
  );

  systems = lib.genAttrs nodeNames (
    node:
    nixpkgs.lib.nixosSystem {
      inherit specialArgs;
      modules = [
        ../model
        ../modules
        ../modules/nixpkgs.nix
        {
          cluster = {
            inherit name;
            nodeName = node;
            # These need all files, so every node's evaluation gets the same values.
            sites = lib.mkForce (checked sites);
            nodes = lib.mkForce (checked nodes);
          };
        }
      ]
      ++ modules
      ++ [
        clusterFile
        (siteFile siteOf.${node})
        (nodeFile node)
      ];
    }
  );
}
