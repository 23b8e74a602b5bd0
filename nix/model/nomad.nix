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
        description = "Folders of the node that jobs may mount, by the name under which jobs ask for them.";
      };
      meta = mkOption {
        type = types.attrsOf types.str;
        default = { };
        example = {
          disk = "ssd";
        };
        description = "Metadata of the node for the constraints of jobs, beside `site` and `tags`, which are always there.";
      };
    };
  };

  preemption =
    kind:
    mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "Whether a ${kind} job may push out jobs of a lower priority.";
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
              description = "Whether every node runs Nomad: jobs on all of them, the servers where the role is `server`.";
            };
            httpPort = mkOption {
              type = types.port;
              default = 4646;
              example = 4646;
              description = "Port of Nomad's API, by TLS with a client certificate only.";
            };
            dropPrivileges = mkOption {
              type = types.bool;
              default = false;
              example = true;
              description = ''
                Whether Nomad runs as a user that systemd makes up for it, instead of as root. It can then start no tasks that
                need root: volumes and networks of their own, for example. Its certificates are read through the group
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
                description = "Whether jobs are put on as few nodes as possible or spread over all.";
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
