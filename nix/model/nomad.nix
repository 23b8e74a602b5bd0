{ lib, ... }:
let
  inherit (lib) mkOption types;
  own = import ../lib/types.nix { inherit lib; };

  volume = types.submodule {
    options = {
      path = mkOption {
        type = own.nodePath;
        example = "/var/lib/media";
        description = "Folder on the node.";
      };
      readOnly = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = "Whether jobs may only read it.";
      };
    };
  };

  ofNode = types.submodule {
    options.nomad = {
      hostVolumes = mkOption {
        type = types.attrsOf volume;
        default = { };
        example = {
          media.path = "/var/lib/media";
        };
        description = "Folders of the node that jobs may mount, under the names that jobs use.";
      };
      meta = mkOption {
        type = types.attrsOf types.str;
        default = { };
        example = {
          disk = "ssd";
        };
        description = "Metadata of the node for constraints of jobs, in addition to `site` and `tags`.";
      };
    };
  };

  preemption =
    kind:
    mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "Whether a ${kind} job may preempt jobs of a lower priority.";
    };
in
{
  options.cluster = mkOption {
    type = types.submodule (
      { config, ... }:
      {
        options = {
          nodes = mkOption { type = types.attrsOf ofNode; };

          nomad = {
            enable = mkOption {
              type = types.bool;
              default = true;
              example = false;
              description = "Whether every node runs Nomad: as a client, and also as a server if its role is `server`.";
            };
            httpPort = mkOption {
              type = types.port;
              default = 4646;
              example = 4646;
              description = "Port of Nomad's API, which requires TLS with a client certificate.";
            };
            dropPrivileges = mkOption {
              type = types.bool;
              default = false;
              example = true;
              description = ''
                Whether Nomad runs as a dynamic user of systemd instead of root. It can then start no tasks that need
                root, for example with volumes or networks of their own. It reads its certificates through the group
                `nomad-pki`.
              '';
            };

            scheduler = {
              algorithm = mkOption {
                type = types.enum [
                  "binpack"
                  "spread"
                ];
                default = "binpack";
                example = "spread";
                description = "Whether Nomad puts jobs on as few nodes as possible (`binpack`) or spreads them over all (`spread`).";
              };
              memoryOversubscription = mkOption {
                type = types.bool;
                default = true;
                example = false;
                description = "Whether tasks may use more memory than they reserve, up to their `memory_max`.";
              };
              preemption = {
                batch = preemption "batch";
                service = preemption "service";
                sysbatch = preemption "sysbatch";
                system = preemption "system";
              };
            };
          };
        };

        config.secrets = lib.mkIf config.nomad.enable {
          nomad-gossip = {
            generator = "base64";
            length = 32;
            nodes = [ "role:server" ];
          };
        };
      }
    );
  };
}
