# From outside, the firewall admits only SSH and the overlay's own ports. It admits the nodes' own traffic from the
# overlay or, without one, from the addresses of the other nodes alone.
{ config, lib, ... }:
let
  inherit (config) cluster;
  ports = import ../lib/ports.nix;
  # Versions of NixOS without this option have these two backends.
  backend =
    config.networking.firewall.backend
      or (if config.networking.nftables.enable then "nftables" else "iptables");

  others = removeAttrs cluster.nodes [ cluster.nodeName ];

  consul = {
    # Server RPC, gossip, API.
    tcp = [
      ports.consul.rpc
      ports.consul.serf
      cluster.consul.httpsPort
    ];
    udp = [ ports.consul.serf ];
  };
  nomad = {
    # API, RPC, gossip.
    tcp = [
      cluster.nomad.httpPort
      ports.nomad.rpc
      ports.nomad.serf
    ];
    udp = [ ports.nomad.serf ];
    inherit (ports.nomad) jobs;
  };

  tcp =
    lib.optionals cluster.consul.enable consul.tcp ++ lib.optionals cluster.nomad.enable nomad.tcp;
  udp =
    lib.optionals cluster.consul.enable consul.udp ++ lib.optionals cluster.nomad.enable nomad.udp;
  ranges = lib.optional cluster.nomad.enable nomad.jobs;

  addressesOf =
    family:
    lib.filter (address: address != null) (lib.mapAttrsToList (_: node: node.address.${family}) others);

  iptables =
    command: address:
    let
      list =
        separator: ports:
        lib.concatStringsSep "," (
          map toString ports ++ map (range: "${toString range.from}${separator}${toString range.to}") ranges
        );
      rule =
        protocol: ports:
        "${command} -w -A nixos-fw -s ${address} -p ${protocol} -m multiport --dports ${list ":" ports} -j nixos-fw-accept\n";
    in
    lib.optionalString (tcp != [ ]) (rule "tcp" tcp) + lib.optionalString (udp != [ ]) (rule "udp" udp);

  nftables =
    family: address:
    let
      list =
        ports:
        lib.concatStringsSep ", " (
          map toString ports ++ map (range: "${toString range.from}-${toString range.to}") ranges
        );
      rule = protocol: ports: "${family} saddr ${address} ${protocol} dport { ${list ports} } accept\n";
    in
    lib.optionalString (tcp != [ ]) (rule "tcp" tcp) + lib.optionalString (udp != [ ]) (rule "udp" udp);

  fromNodes =
    rules: ipv4: ipv6:
    lib.concatMapStrings (rules ipv4) (addressesOf "ipv4")
    + lib.concatMapStrings (rules ipv6) (addressesOf "ipv6");
in
{
  assertions = [
    {
      # NixOS's module for firewalld supports neither extra rules nor ports per interface.
      assertion =
        !config.networking.firewall.enable
        || backend != "firewalld"
        || !cluster.wireguard.enable && tcp == [ ] && udp == [ ];
      message = "networking.firewall.backend = \"firewalld\" cannot take the rules that cluster.* has, so nodes would not reach each other: use \"nftables\" or \"iptables\"";
    }
  ];

  networking.firewall = lib.mkMerge [
    { enable = lib.mkDefault true; }

    (lib.mkIf cluster.wireguard.enable {
      interfaces.${cluster.wireguard.interface} = {
        allowedTCPPorts = tcp;
        allowedUDPPorts = udp;
        allowedTCPPortRanges = ranges;
        allowedUDPPortRanges = ranges;
      };
    })

    (lib.mkIf (!cluster.wireguard.enable && backend == "iptables") {
      extraCommands = fromNodes iptables "iptables" "ip6tables";
    })
    (lib.mkIf (!cluster.wireguard.enable && backend == "nftables") {
      extraInputRules = fromNodes nftables "ip" "ip6";
    })
  ];
}
