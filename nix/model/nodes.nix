{ lib, ... }:
let
  inherit (lib) mkOption types;
  own = import ../lib/types.nix { inherit lib; };

  node = types.submodule {
    options = {
      site = mkOption {
        type = own.label;
        example = "lyon";
        description = "Site of the node: the name of a file in `site/`, without `.nix`.";
      };

      system = mkOption {
        type = types.enum [
          "x86_64-linux"
          "aarch64-linux"
        ];
        default = "x86_64-linux";
        example = "aarch64-linux";
        description = "Platform of the node.";
      };

      role = mkOption {
        type = types.enum [
          "server"
          "client"
        ];
        default = "client";
        example = "server";
        description = ''
          A `server` votes in the raft of Consul and of Nomad. A cluster has an odd number of servers, usually three or
          five. Nodes of both roles run jobs.
        '';
      };

      tags = mkOption {
        type = types.listOf own.label;
        default = [ ];
        example = [ "storage" ];
        description = "Words by which operations (`@storage`) and jobs select nodes.";
      };

      address = {
        ipv4 = mkOption {
          type = types.nullOr own.ipv4;
          default = null;
          example = "192.0.2.11";
          description = "IPv4 address of the node in its site.";
        };
        ipv6 = mkOption {
          type = types.nullOr own.ipv6;
          default = null;
          example = "2001:db8:1::11";
          description = "IPv6 address of the node.";
        };
      };

      interface = mkOption {
        type = types.nullOr (types.strMatching "[a-zA-Z0-9_.-]{1,15}");
        default = null;
        example = "eno1";
        description = ''
          Network interface that gets the node's addresses and the site's gateways. With null, other settings configure
          the interfaces (DHCP by default), and the addresses here only say how to reach the node.
        '';
      };

      ssh = {
        user = mkOption {
          type = types.nullOr own.userName;
          default = null;
          example = "deploy";
          description = ''
            User to log in as where neither `SSH_USER` (or `--ssh-user`) nor `ssh_config` names one. null means the
            operator's own name.
          '';
        };
        port = mkOption {
          type = types.port;
          default = 22;
          example = 2222;
          description = "Port on which the node's SSH server listens.";
        };
      };
    };
  };
in
{
  options.cluster = mkOption {
    type = types.submodule {
      options.nodes = mkOption {
        type = types.attrsOf node;
        default = { };
        example = {
          alder = {
            site = "lyon";
            address.ipv4 = "192.0.2.11";
          };
        };
        description = ''
          The nodes of the cluster. `node/<node>.nix` sets `cluster.nodes.<node>`. A node's configuration sees all nodes
          here, complete.
        '';
      };
    };
  };
}
