# networking.wireguard and services.wgautomesh.
# Follows nixos/modules/services/networking/wireguard.nix, nixos/modules/services/networking/wgautomesh.nix.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  inherit (import ./declare.nix { inherit lib; })
    flag
    strings
    nullable
    text
    ;
  cfg = config.networking.wireguard;
  mesh = config.services.wgautomesh;
  shell =
    description:
    mkOption {
      type = types.coercedTo (types.listOf types.str) (lib.concatStringsSep "\n") types.lines;
      default = "";
      inherit description;
    };
  peer = types.submodule (
    { config, ... }: {
      options = {
        name = mkOption {
          type = types.str;
          default =
            lib.replaceStrings [ "/" "-" " " "+" "=" ] [ "-" "\\x2d" "\\x20" "\\x2b" "\\x3d" ]
              config.publicKey;
          defaultText = lib.literalExpression "the public key, escaped for systemd";
          description = "The name of the peer's unit.";
        };
        publicKey = mkOption {
          type = types.singleLineStr;
          description = "The peer's public key.";
        };
        presharedKey = nullable types.str "A key that both have.";
        presharedKeyFile = nullable types.str "The file of such a key.";
        allowedIPs = mkOption {
          type = types.listOf types.str;
          description = "Networks that are the peer's.";
        };
        endpoint = nullable types.str "Where the peer is reached.";
        dynamicEndpointRefreshSeconds = mkOption {
          type = types.int;
          default = 0;
          description = "How often the endpoint's name is looked up again.";
        };
        dynamicEndpointRefreshRestartSeconds = nullable types.ints.unsigned "After what time a failed look-up is tried again.";
        persistentKeepalive = nullable types.int "How often the peer hears from this one, in seconds.";
      };
    }
  );
  interface = types.submodule {
    options = {
      ips = strings [ ] "The interface's addresses.";
      privateKey = nullable types.str "The private key, for tests.";
      privateKeyFile = nullable types.str "The file of the private key.";
      generatePrivateKeyFile = flag false "Whether a missing key is made.";
      listenPort = nullable types.int "The port.";
      preSetup = shell "Shell code before the interface is made.";
      postSetup = shell "Shell code after it is made.";
      preShutdown = shell "Shell code before it is removed.";
      postShutdown = shell "Shell code after it is removed.";
      table = text "main" "The table of its routes.";
      peers = mkOption {
        type = types.listOf peer;
        default = [ ];
        description = "The peers.";
      };
      allowedIPsAsRoutes = flag true "Whether peers' networks are routed to it.";
      socketNamespace = nullable types.str "The namespace of its socket.";
      interfaceNamespace = nullable types.str "The namespace of the interface.";
      fwMark = nullable types.str "The mark of its packets.";
      mtu = nullable types.int "Its largest packet.";
      metric = nullable types.int "The metric of its routes.";
      dynamicEndpointRefreshSeconds = mkOption {
        type = types.int;
        default = 0;
        description = "How often endpoints' names are looked up again.";
      };
      type = mkOption {
        type = types.enum [
          "wireguard"
          "amneziawg"
        ];
        default = "wireguard";
        description = "The kind of the interface.";
      };
    };
  };
  unit =
    name: one:
    let
      key =
        if one.privateKeyFile != null then
          one.privateKeyFile
        else
          toString (pkgs.writeText "wg-key" one.privateKey);
      setPeer =
        peer:
        "wg set ${name} peer ${lib.escapeShellArg peer.publicKey}"
        + lib.optionalString (peer.endpoint != null) " endpoint ${lib.escapeShellArg peer.endpoint}"
        + lib.optionalString (
          peer.presharedKeyFile != null
        ) " preshared-key ${lib.escapeShellArg peer.presharedKeyFile}"
        + lib.optionalString (
          peer.persistentKeepalive != null
        ) " persistent-keepalive ${toString peer.persistentKeepalive}"
        + " allowed-ips ${lib.concatStringsSep "," peer.allowedIPs}\n"
        + lib.optionalString one.allowedIPsAsRoutes (
          lib.concatMapStrings (ip: "ip route replace ${ip} dev ${name} table ${one.table}\n") peer.allowedIPs
        );
    in
    {
      description = "WireGuard Tunnel - ${name}";
      wantedBy = [ "multi-user.target" ];
      after = [ "network-pre.target" ];
      wants = [ "network.target" ];
      before = [ "network.target" ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
      };
      script = ''
        ${lib.optionalString one.generatePrivateKeyFile ''
          if [ ! -e ${lib.escapeShellArg key} ]; then
            mkdir -p -m 0755 ${lib.escapeShellArg (dirOf key)}
            (umask 077; wg genkey >${lib.escapeShellArg key}.new)
            mv ${lib.escapeShellArg key}.new ${lib.escapeShellArg key}
          fi
        ''}${one.preSetup}
        ip link del dev ${name} 2>/dev/null || true
        ip link add dev ${name} type wireguard
        ${lib.optionalString (one.mtu != null) "ip link set ${name} mtu ${toString one.mtu}"}
        ${lib.concatMapStrings (ip: "ip addr add ${ip} dev ${name}\n") one.ips}
        wg set ${name} private-key ${lib.escapeShellArg key}${
          lib.optionalString (one.listenPort != null) " listen-port ${toString one.listenPort}"
        }${lib.optionalString (one.fwMark != null) " fwmark ${one.fwMark}"}
        ip link set up dev ${name}
        ${lib.concatMapStrings setPeer one.peers}${one.postSetup}
      '';
      postStop = ''
        ${one.preShutdown}
        ip link del dev ${name} || true
        ${one.postShutdown}
      '';
    };
in
{
  options = {
    networking.wireguard = {
      enable = flag (cfg.interfaces != { }) "Whether WireGuard is used.";
      interfaces = mkOption {
        type = types.attrsOf interface;
        default = { };
        description = "Interfaces.";
      };
      useNetworkd = flag config.networking.useNetworkd "Whether systemd-networkd makes them.";
    };
    services.wgautomesh = {
      enable = lib.mkEnableOption "the wgautomesh daemon";
      logLevel = mkOption {
        type = types.enum [
          "trace"
          "debug"
          "info"
          "warn"
          "error"
        ];
        default = "info";
        description = "How much is logged.";
      };
      enableGossipEncryption = flag true "Whether gossip is encrypted.";
      gossipSecretFile = mkOption {
        type = types.path;
        description = "The file of the gossip's secret.";
      };
      enablePersistence = flag true "Whether known peers are kept.";
      openFirewall = flag true "Whether the gossip's port is open.";
      settings = mkOption {
        default = { };
        description = "Settings of wgautomesh.";
        type = types.submodule {
          freeformType = (pkgs.formats.toml { }).type;
          options = {
            interface = mkOption {
              type = types.str;
              example = "wg0";
              description = "The interface whose peers are managed.";
            };
            gossip_port = mkOption {
              type = types.port;
              default = 1666;
              description = "The port of the gossip.";
            };
            lan_discovery = flag true "Whether peers are looked for nearby.";
            upnp_forward_external_port = nullable types.port "A port that the router is asked to forward.";
            peers = mkOption {
              default = [ ];
              description = "The peers.";
              type = types.listOf (
                types.submodule {
                  options = {
                    pubkey = mkOption {
                      type = types.str;
                      description = "The public key.";
                    };
                    address = mkOption {
                      type = types.str;
                      description = "The address inside.";
                    };
                    endpoint = nullable types.str "Where it is reached.";
                  };
                }
              );
            };
          };
        };
      };
    };
  };
  config = lib.mkMerge [
    (lib.mkIf cfg.enable {
      assertions = lib.mapAttrsToList (name: one: {
        assertion = (one.privateKey != null) != (one.privateKeyFile != null);
        message = "Either networking.wireguard.interfaces.${name}.privateKey or networking.wireguard.interfaces.${name}.privateKeyFile must be set.";
      }) cfg.interfaces;
      systemd.services = lib.mapAttrs' (
        name: one: lib.nameValuePair "wireguard-${name}" (unit name one)
      ) cfg.interfaces;
      standin.programs = lib.mapAttrs' (
        name: _:
        lib.nameValuePair "wireguard-${name}" {
          program = "wg";
          option = "networking.wireguard.interfaces.${name}";
        }
      ) cfg.interfaces;
    })
    (lib.mkIf mesh.enable {
      services.wgautomesh.settings = lib.mkIf mesh.enablePersistence {
        persist_file = lib.mkDefault "/var/lib/wgautomesh/state";
      };
      networking.firewall.allowedUDPPorts = lib.mkIf mesh.openFirewall [ mesh.settings.gossip_port ];
      standin.programs.wgautomesh = {
        program = "wgautomesh";
        option = "services.wgautomesh";
      };
      systemd.services.wgautomesh = {
        description = "wgautomesh";
        path = [ pkgs.wireguard-tools ];
        environment.RUST_LOG = "wgautomesh=${mesh.logLevel}";
        after = [ "network-online.target" ];
        wants = [ "network-online.target" ];
        wantedBy = [ "multi-user.target" ];
        serviceConfig = {
          ExecStart = "${pkgs.wgautomesh}/bin/wgautomesh ${
            (pkgs.formats.toml { }).generate "wgautomesh.toml" mesh.settings
          }";
          Restart = "always";
          RestartSec = "30";
          StateDirectory = "wgautomesh";
        }
        // lib.optionalAttrs mesh.enableGossipEncryption {
          LoadCredential = [ "gossip_secret:${mesh.gossipSecretFile}" ];
        };
      };
    })
  ];
}
