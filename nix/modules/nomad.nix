# Nomad on every node. The cluster is its region, the site its datacenter. All nodes, servers included, run jobs.
{ config, lib, ... }:
let
  inherit (config) cluster;
  node = cluster.nodes.${cluster.nodeName};
  address = import ../lib/address.nix { inherit lib cluster; };
  overlay = import ../lib/overlay.nix { inherit lib cluster; };

  pki = cluster.pki.nomad.directory;

  fixed = (import ../lib/ports.nix).nomad;
  ports = {
    http = cluster.nomad.httpPort;
    inherit (fixed) rpc serf;
  };
  gossip = cluster.secrets.nomad-gossip.path;

  isServer = node.role == "server";

  needed = [
    "${pki}/nomad-ca.crt"
    "${pki}/nomad.crt"
    "${pki}/nomad.key"
  ]
  ++ lib.optionals cluster.consul.enable [
    "${pki}/consul-ca.crt"
    "${pki}/consul-client.crt"
    "${pki}/consul-client.key"
  ]
  ++ lib.optional isServer gossip
  ++ overlay.needed;

  # As for Consul: Nomad reads the gossip key from its configuration alone.
  gossipConfig = "/run/nomad/gossip.json";

  # With ports: Nomad's client brackets an address once more when it adds one (resolveServer in client/rpc.go).
  servers =
    port: map (server: "${address.host cluster.nodes.${server}}:${toString port}") address.otherServers;

  # Ports of jobs are on the overlay; without one, on the node's `interface`, or on the one that Nomad finds.
  interface = if cluster.wireguard.enable then cluster.wireguard.interface else node.interface;

  # As for Consul: the settings without those that a running agent reloads, or uses only while it joins.
  restarting =
    let
      inherit (config.services.nomad) settings;
      part = name: settings.${name} or { };
    in
    removeAttrs settings [ "log_level" ]
    // {
      client = removeAttrs (part "client") [ "server_join" ];
      server = removeAttrs (part "server") [
        "bootstrap_expect"
        "server_join"
      ];
    };
in
{
  config = lib.mkIf cluster.nomad.enable {
    services.nomad = {
      enable = true;
      enableDocker = true;
      inherit (cluster.nomad) dropPrivileges;
      extraSettingsPaths = lib.optional isServer gossipConfig;

      settings = lib.mkMerge [
        {
          region = cluster.name;
          datacenter = node.site;
          name = cluster.nodeName;

          bind_addr = "0.0.0.0";
          advertise = {
            http = address.inner node;
            rpc = address.inner node;
            serf = address.inner node;
          };
          inherit ports;

          tls = {
            http = true;
            rpc = true;
            ca_file = "${pki}/nomad-ca.crt";
            cert_file = "${pki}/nomad.crt";
            key_file = "${pki}/nomad.key";
            verify_server_hostname = true;
            verify_https_client = true;
          };

          client = {
            enabled = true;
            server_join.retry_join = servers ports.rpc;
            min_dynamic_port = fixed.jobs.from;
            max_dynamic_port = fixed.jobs.to;
            meta = node.nomad.meta // {
              inherit (node) site;
              tags = lib.concatStringsSep "," node.tags;
            };
          }
          // lib.optionalAttrs (interface != null) { network_interface = interface; };

          plugin = [
            {
              docker = [
                {
                  config = [
                    {
                      volumes.enabled = true;
                      allow_privileged = false;
                    }
                  ];
                }
              ];
            }
          ];

          telemetry = {
            disable_hostname = true;
            prometheus_metrics = true;
            publish_allocation_metrics = true;
            publish_node_metrics = true;
          };
        }

        (lib.mkIf (node.nomad.hostVolumes != { }) {
          client.host_volume = lib.mapAttrs (_: volume: {
            inherit (volume) path;
            read_only = volume.readOnly;
          }) node.nomad.hostVolumes;
        })

        (lib.mkIf isServer {
          server = {
            enabled = true;
            bootstrap_expect = lib.length address.servers;
            server_join.retry_join = servers ports.serf;
          };
        })

        (lib.mkIf cluster.consul.enable {
          consul = {
            address = "127.0.0.1:${toString cluster.consul.httpsPort}";
            ssl = true;
            verify_ssl = true;
            ca_file = "${pki}/consul-ca.crt";
            cert_file = "${pki}/consul-client.crt";
            key_file = "${pki}/consul-client.key";
          };
        })
      ];
    };

    virtualisation.docker.autoPrune.enable = lib.mkDefault true;

    systemd.services.nomad = {
      restartTriggers = lib.mkForce [ (builtins.toJSON restarting) ];
      reloadTriggers = [ config.environment.etc."nomad.json".source ];
      unitConfig.ConditionPathExists = needed;
      after = overlay.units ++ lib.optional cluster.consul.enable "consul.service";
      wants = overlay.units ++ lib.optional cluster.consul.enable "consul.service";
      serviceConfig = lib.mkMerge [
        (lib.mkIf isServer {
          RuntimeDirectory = "nomad";
          RuntimeDirectoryMode = "0700";
          # systemd reads root's file for Nomad, whatever user that runs as.
          LoadCredential = [ "gossip:${gossip}" ];
        })
        (lib.mkIf cluster.nomad.dropPrivileges { SupplementaryGroups = [ "nomad-pki" ]; })
      ];
      preStart = lib.mkIf isServer ''
        (
          umask 077
          printf '{"server":{"encrypt":"%s"}}\n' "$(< "$CREDENTIALS_DIRECTORY/gossip")" > ${gossipConfig}.new
        )
        mv ${gossipConfig}.new ${gossipConfig}
      '';
    };

    users.groups = lib.mkIf cluster.nomad.dropPrivileges { nomad-pki = { }; };

    systemd.paths.nomad = {
      description = "Start Nomad when its certificates and secrets have come";
      wantedBy = [ "multi-user.target" ];
      # Watches the files, not their folders: systemd then notices a file that arrives while it handles another one.
      pathConfig.PathChanged = needed;
    };

    systemd.tmpfiles.settings."10-nixcfg" = lib.mapAttrs' (
      _: volume:
      lib.nameValuePair volume.path {
        d = {
          mode = "0755";
          user = "root";
          group = "root";
        };
      }
    ) node.nomad.hostVolumes;
  };
}
