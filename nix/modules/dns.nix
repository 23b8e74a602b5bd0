# Every node resolves `*.consul`, for its own programs and for containers.
{ config, lib, ... }:
let
  inherit (config) cluster;
  site = cluster.sites.${cluster.nodes.${cluster.nodeName}.site};

  # Docker's default address of its bridge. Containers cannot reach the node's loopback.
  containers = "172.17.0.1";
in
{
  config = lib.mkIf cluster.consul.enable {
    services.unbound = {
      enable = true;
      # A site's resolver may not support DNSSEC; with the trust anchor, unbound would then refuse all its answers.
      enableRootTrustAnchor = lib.mkDefault (site.nameservers == [ ]);
      settings = {
        server = {
          interface = [
            "127.0.0.1"
            "::1"
          ]
          ++ lib.optional cluster.nomad.enable containers;
          access-control = [
            "127.0.0.0/8 allow"
            "::1/128 allow"
          ]
          ++ lib.optional cluster.nomad.enable "172.16.0.0/12 allow";
          # The bridge appears after the resolver has started.
          ip-freebind = true;
          do-not-query-localhost = false;
          domain-insecure = [ "consul." ];
        };
        forward-zone = [
          {
            name = "consul.";
            forward-addr = [ "127.0.0.1@${toString (import ../lib/ports.nix).consul.dns}" ];
            forward-no-cache = true;
          }
        ]
        ++ lib.optional (site.nameservers != [ ]) {
          name = ".";
          forward-addr = site.nameservers;
        };
      };
    };

    virtualisation.docker.daemon.settings.dns = lib.mkIf cluster.nomad.enable [ containers ];

    # Docker's bridge and Nomad's.
    networking.firewall.interfaces = lib.mkIf cluster.nomad.enable (
      lib.genAttrs
        [
          "docker0"
          "nomad"
        ]
        (_: {
          allowedTCPPorts = [ 53 ];
          allowedUDPPorts = [ 53 ];
        })
    );
  };
}
