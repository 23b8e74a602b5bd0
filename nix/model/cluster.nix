{ lib, ... }:
let
  inherit (lib) mkOption types;
  own = import ../lib/types.nix { inherit lib; };
in
{
  # One option, not a tree of them: names that do not exist below it are then errors even where nothing else is checked.
  options.cluster = mkOption {
    description = "The cluster that this node belongs to.";
    default = { };
    type = types.submodule {
      options = {
        name = mkOption {
          type = own.label;
          example = "prod";
          description = "Name of the cluster: that of its folder, which sets it.";
        };

        nodeName = mkOption {
          type = types.nullOr own.label;
          default = null;
          example = "alder";
          description = "Name of the node that is being evaluated, set for it; null where the cluster as a whole is.";
        };

        domain = mkOption {
          type = own.domain;
          example = "prod.example.org";
          description = "DNS domain of the nodes: node `alder` is `alder.prod.example.org`.";
        };

        secretsPrefix = mkOption {
          type = own.passPrefix;
          default = "nixcfg";
          example = "example";
          description = ''
            Where the cluster's secrets are in the operator's password store: entries live under
            `<prefix>/cluster/<cluster name>/`.
          '';
        };
      };
    };
  };
}
