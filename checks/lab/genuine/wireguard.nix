# The lab's kernel may have no WireGuard, and wgautomesh is in no package registry. The overlay of a lab's nodes is therefore a second
# interface on their one cable: with the names, addresses and units of the real one, but not encrypted.
{ config, lib, ... }:
{
  systemd.services = lib.mapAttrs' (
    name: interface:
    lib.nameValuePair "wireguard-${name}" {
      script = lib.mkForce ''
        ip link del dev ${name} 2>/dev/null || true
        ip link add dev ${name} link host0 type macvlan mode bridge
        ${lib.concatMapStrings (ip: "ip addr add ${ip} dev ${name}\n") interface.ips}
        ${lib.optionalString (
          interface.mtu != null
        ) "ip link set dev ${name} mtu ${toString interface.mtu}"}
        ip link set dev ${name} up
      '';
    }
  ) config.networking.wireguard.interfaces;
}
