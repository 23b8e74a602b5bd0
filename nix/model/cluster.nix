{ lib, ... }:
let
  inherit (lib) mkOption types;
  own = import ../lib/types.nix { inherit lib; };
in
{
  # One option, not a tree of options: unknown names below it are then errors even with `_module.check = false`.
  options.cluster = mkOption {
    description = "The cluster that this node belongs to.";
    default = { };
    type = types.submodule {
      options = {
        name = mkOption {
          type = own.label;
          example = "prod";
          description = "Name of the cluster, set from the name of its folder.";
        };

        nodeName = mkOption {
          type = types.nullOr own.label;
          default = null;
          example = "alder";
          description = "Name of the node that is being evaluated; null while the cluster as a whole is.";
        };

        domain = mkOption {
          type = own.domain;
          example = "prod.example.org";
          description = "DNS domain of the nodes. The name of node `alder` is `alder.prod.example.org`.";
        };

        secretsPrefix = mkOption {
          type = own.passPrefix;
          default = "nixcfg";
          example = "example";
          description = ''
            Prefix of the cluster's entries in the operator's password store: they are below
            `<prefix>/cluster/<cluster>/`.
          '';
        };
      };
    };
  };
}
