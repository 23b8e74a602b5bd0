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

  # A node is a peer once its public key is known.
  peers = lib.filterAttrs (_: peer: peer.wireguard.publicKey != null) (
    removeAttrs cluster.nodes [ cluster.nodeName ]
  );

  withoutKey = lib.attrNames (
    lib.filterAttrs (_: peer: peer.wireguard.publicKey == null) cluster.nodes
  );

  # Often enough for the mapping of a translating router to live on, in seconds.
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

    # The conditions below are on the unit that the scripted interface has; systemd-networkd, which newer versions of NixOS
    # may use, would make the interface without waiting for the key, and lose the peers that wgautomesh adds.
    networking.wireguard =
      lib.optionalAttrs (options.networking.wireguard ? useNetworkd) { useNetworkd = false; }
      // {
        interfaces.${cfg.interface} = {
          ips = [ "${node.wireguard.address}/${toString cfg.prefixLength}" ];
          listenPort = cfg.port;
          inherit (cfg) privateKeyFile;
          generatePrivateKeyFile = cfg.keys == "node";
          # Of 1500 bytes, WireGuard takes 80 over IPv6; a tunnelled uplink takes 8 or 20 more.
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
