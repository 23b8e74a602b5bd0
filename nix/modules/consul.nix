# A Consul agent on every node. The cluster is its datacenter.
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

  # Consul reads the gossip key from its configuration alone. Each start therefore writes that part, to a file in memory.
  gossipConfig = "/run/consul/gossip.json";

  isServer = node.role == "server";

  # These need no restart: a running agent reloads them at a signal (node_meta, log_level: Consul's "reloadable
  # configuration"), or uses them only while it joins.
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
          # A cluster is one datacenter, so there is no gossip between datacenters.
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

    # The last of its files to arrive starts Consul. While one is missing, the condition above keeps the unit from
    # failing.
    systemd.paths.consul = {
      description = "Start Consul when its certificates and secrets have come";
      wantedBy = [ "multi-user.target" ];
      # Watches the files, not their folders: systemd then notices a file that arrives while it handles another one.
      pathConfig.PathChanged = needed;
    };
  };
}
