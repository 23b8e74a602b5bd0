# The firewall's rules as text for nft.
# Follows nixos/modules/services/networking/firewall-nftables.nix.
{ lib, config }:
let
  cfg = config.networking.firewall;
  set =
    single: ranges:
    map toString single ++ map (range: "${toString range.from}-${toString range.to}") ranges;
  accept =
    match: protocol: ports:
    lib.optional (
      ports != [ ]
    ) "${match}${protocol} dport { ${lib.concatStringsSep ", " ports} } accept";
  open =
    match: one:
    accept match "tcp" (set one.allowedTCPPorts one.allowedTCPPortRanges)
    ++ accept match "udp" (set one.allowedUDPPorts one.allowedUDPPortRanges);
  rules = [
    "ct state { established, related } accept"
    "ct state invalid drop"
  ]
  ++ map (name: "iifname \"${name}\" accept") (lib.unique cfg.trustedInterfaces)
  ++ open "" cfg
  ++ lib.concatLists (lib.mapAttrsToList (name: open "iifname \"${name}\" ") cfg.interfaces)
  ++ lib.optional cfg.allowPing "icmp type echo-request accept"
  ++ [
    "icmpv6 type != { nd-redirect, 139 } accept"
    "ip6 daddr fe80::/64 udp dport 546 accept"
  ]
  ++ lib.optional (cfg.extraInputRules != "") cfg.extraInputRules
  ++ lib.optional cfg.logRefusedConnections "tcp flags syn / fin,syn,rst,ack log level info prefix \"refused connection: \""
  ++ lib.optional cfg.rejectPackets "reject";
in
''
  table inet nixos-fw {
    chain input {
      type filter hook input priority filter; policy drop;
      ${lib.concatStringsSep "\n    " rules}
    }
  }
''
