{ lib, ... }:
let
  inherit (lib) mkOption types;
  own = import ../lib/types.nix { inherit lib; };

  ofNode = types.submodule {
    options.wireguard = {
      address = mkOption {
        type = types.nullOr own.ipv4;
        default = null;
        example = "10.83.1.1";
        description = "Address of the node in the overlay. With the overlay enabled, every node needs one.";
      };
      publicKey = mkOption {
        type = types.nullOr own.wireguardKey;
        default = null;
        example = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
        description = "Public key of the node in the overlay. The private one never leaves the password store and the node.";
      };
      endpoint = mkOption {
        type = types.nullOr own.endpoint;
        default = null;
        example = "203.0.113.7:51820";
        description = "Where nodes of other sites reach this node's WireGuard; null if they cannot.";
      };
    };
  };
in
{
  options.cluster = mkOption {
    type = types.submodule (
      { config, ... }:
      {
        options = {
          nodes = mkOption { type = types.attrsOf ofNode; };

          wireguard = {
            enable = mkOption {
              type = types.bool;
              default = false;
              example = true;
              description = ''
                Whether the nodes communicate through a WireGuard overlay. Consul and Nomad then use its addresses
                alone.
              '';
            };
            interface = mkOption {
              type = types.strMatching "[a-z][a-z0-9]{0,14}";
              default = "wg0";
              example = "mesh";
              description = "Name of the overlay's interface on the nodes.";
            };
            port = mkOption {
              type = types.port;
              default = 51820;
              example = 33799;
              description = "UDP port on which the nodes' WireGuard listens.";
            };
            prefixLength = mkOption {
              type = types.ints.between 1 32;
              default = 16;
              example = 24;
              description = "Length of the prefix of the overlay's network, which holds the addresses of all nodes.";
            };
            peers = mkOption {
              type = types.enum [
                "wgautomesh"
                "static"
              ];
              default = "wgautomesh";
              example = "static";
              description = ''
                How a node finds its peers. `wgautomesh`: the nodes find each other, even behind NAT and in their own
                network. `static`: each node uses the others' `endpoint` alone.
              '';
            };
            gossipPort = mkOption {
              type = types.port;
              default = 1666;
              example = 1667;
              description = "UDP port of wgautomesh's gossip.";
            };
            keys = mkOption {
              type = types.enum [
                "gen-secrets"
                "node"
              ];
              default = "gen-secrets";
              example = "node";
              description = ''
                Where private keys are made. `gen-secrets`: on the operator's machine; the password store keeps them, so
                a reinstalled node keeps its key. `node`: on the node, which alone has its key.
              '';
            };
            privateKeyFile = mkOption {
              type = own.nodePath;
              default = "/var/lib/nixcfg/wireguard/private.key";
              example = "/persist/wireguard.key";
              description = "File on each node that holds its private key.";
            };
          };
        };

        config.secrets = lib.mkIf config.wireguard.enable {
          wireguard = lib.mkIf (config.wireguard.keys == "gen-secrets") {
            generator = "wireguard";
            perNode = true;
            path = config.wireguard.privateKeyFile;
            restartUnits = [ "wireguard-${config.wireguard.interface}.service" ];
          };
          wgautomesh-gossip = lib.mkIf (config.wireguard.peers == "wgautomesh") {
            generator = "base64";
            length = 32;
            restartUnits = [ "wgautomesh.service" ];
          };
        };
      }
    );
  };
}
