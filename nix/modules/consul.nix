# A Consul agent on every node: its datacenter is the cluster.
{ config, lib, ... }:
let
  inherit (config) cluster;
  node = cluster.nodes.${cluster.nodeName};
  address = import ../lib/address.nix { inherit lib cluster; };
  overlay = import ../lib/overlay.nix { inherit lib cluster; };

  pki = cluster.pki.consul.directory;
  gossip = cluster.secrets.consul-gossip.path;

  needed = [
    "${pki}/consul-ca.crt"
    "${pki}/consul.crt"
    "${pki}/consul.key"
    gossip
  ]
  ++ overlay.needed;

  # Consul takes the key from its configuration alone, so a part of that is written when it starts, in memory.
  gossipConfig = "/run/consul/gossip.json";

  isServer = node.role == "server";

  # What a running agent takes over when it is signalled (node_meta, log_level: Consul's "reloadable configuration"), and what
  # it looks at only while it joins: another server in the cluster is no reason to restart all agents.
  withoutRestart = [
    "bootstrap_expect"
    "log_level"
    "node_meta"
    "retry_join"
  ];
  inherit (config.environment) etc;
in
{
  config = lib.mkIf cluster.consul.enable {
    services.consul = {
      enable = true;
      webUi = true;
      extraConfigFiles = [ gossipConfig ];
      extraConfig = {
        datacenter = cluster.name;
        node_name = cluster.nodeName;
        node_meta = {
          inherit (node) site;
          tags = lib.concatStringsSep "," node.tags;
        };

        server = isServer;
        retry_join = map (server: address.host cluster.nodes.${server}) address.otherServers;

        bind_addr = address.inner node;
        advertise_addr = address.inner node;
        client_addr = "127.0.0.1";
        addresses.https = "127.0.0.1 ${address.inner node}";
        ports = {
          http = -1;
          https = cluster.consul.httpsPort;
          # One datacenter a cluster: there is no other to gossip with.
          serf_wan = -1;
        };

        tls = {
          defaults = {
            ca_file = "${pki}/consul-ca.crt";
            cert_file = "${pki}/consul.crt";
            key_file = "${pki}/consul.key";
            verify_incoming = true;
            verify_outgoing = true;
          };
          internal_rpc.verify_server_hostname = true;
        };

        telemetry = {
          disable_hostname = true;
          prometheus_retention_time = "2h";
        };
      }
      // lib.optionalAttrs isServer { bootstrap_expect = lib.length address.servers; };
    };

    systemd.services.consul = {
      unitConfig.ConditionPathExists = needed;
      after = overlay.units;
      wants = overlay.units;
      restartTriggers = lib.mkForce (
        [ (builtins.toJSON (removeAttrs (builtins.fromJSON etc."consul.json".text) withoutRestart)) ]
        ++ lib.mapAttrsToList (_: file: file.source) (
          lib.filterAttrs (name: _: lib.hasPrefix "consul.d/" name) etc
        )
      );
      reloadTriggers = [ etc."consul.json".text ];
      serviceConfig = {
        RuntimeDirectory = "consul";
        RuntimeDirectoryMode = "0700";
        RestartSec = 5;
        LimitNOFILE = 65536;
      };
      preStart = ''
        (
          umask 077
          printf '{"encrypt":"%s"}\n' "$(< ${lib.escapeShellArg gossip})" > ${gossipConfig}.new
        )
        chown consul ${gossipConfig}.new
        mv ${gossipConfig}.new ${gossipConfig}
      '';
    };

    # Whichever of its files comes last starts it. While one is missing the condition keeps it from failing.
    systemd.paths.consul = {
      description = "Start Consul when its certificates and secrets have come";
      wantedBy = [ "multi-user.target" ];
      # The files and not their folders: what comes while systemd is busy with the one before is then noticed afterwards.
      pathConfig.PathChanged = needed;
    };
  };
}
