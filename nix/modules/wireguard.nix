# The overlay between all nodes.
{
  config,
  lib,
  options,
  ...
}:
let
  inherit (config) cluster;
  cfg = cluster.wireguard;
  node = cluster.nodes.${cluster.nodeName};

  # Only nodes with a public key are peers.
  peers = lib.filterAttrs (_: peer: peer.wireguard.publicKey != null) (
    removeAttrs cluster.nodes [ cluster.nodeName ]
  );

  withoutKey = lib.attrNames (
    lib.filterAttrs (_: peer: peer.wireguard.publicKey == null) cluster.nodes
  );

  # Seconds; keeps the mapping of a NAT router alive.
  keepalive = 25;

  byHand = cfg.peers == "static";
  byMesh = cfg.peers == "wgautomesh";
in
{
  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.keys == "node" || withoutKey == [ ];
        message = "these nodes have no WireGuard public key: ${lib.concatStringsSep ", " withoutKey}. gen-secrets makes the keys and prints the public ones: set cluster.nodes.<node>.wireguard.publicKey";
      }
    ];

    # The conditions below belong to the unit of the scripted interface. systemd-networkd, which newer versions of NixOS
    # can use, would make the interface without waiting for the key, and would remove the peers that wgautomesh adds.
    networking.wireguard =
      lib.optionalAttrs (options.networking.wireguard ? useNetworkd) { useNetworkd = false; }
      // {
        interfaces.${cfg.interface} = {
          ips = [ "${node.wireguard.address}/${toString cfg.prefixLength}" ];
          listenPort = cfg.port;
          inherit (cfg) privateKeyFile;
          generatePrivateKeyFile = cfg.keys == "node";
          # Of 1500 bytes, WireGuard over IPv6 takes 80; a tunnelled uplink takes 8 or 20 more.
          mtu = 1400;
          peers = lib.optionals byHand (
            lib.mapAttrsToList (name: peer: {
              inherit (peer.wireguard) publicKey endpoint;
              allowedIPs = [ "${peer.wireguard.address}/32" ];
              persistentKeepalive = keepalive;
            }) peers
          );
        };
      };

    networking.firewall.allowedUDPPorts = [ cfg.port ];

    services.wgautomesh = lib.mkIf byMesh {
      enable = true;
      gossipSecretFile = cluster.secrets.wgautomesh-gossip.path;
      settings = {
        inherit (cfg) interface;
        gossip_port = cfg.gossipPort;
        peers = lib.mapAttrsToList (_: peer: {
          pubkey = peer.wireguard.publicKey;
          inherit (peer.wireguard) address endpoint;
        }) peers;
      };
    };

    systemd.services = lib.mkMerge [
      (lib.mkIf (cfg.keys == "gen-secrets") {
        "wireguard-${cfg.interface}".unitConfig.ConditionPathExists = [ cfg.privateKeyFile ];
      })
      (lib.mkIf byMesh {
        wgautomesh = {
          after = [ "wireguard-${cfg.interface}.service" ];
          wants = [ "wireguard-${cfg.interface}.service" ];
          unitConfig.ConditionPathExists = [ cluster.secrets.wgautomesh-gossip.path ];
        };
      })
    ];
  };
}
