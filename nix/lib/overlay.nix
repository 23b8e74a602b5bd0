# What a service with an address in the overlay waits for; empty without an overlay.
{ lib, cluster }:
let
  cfg = cluster.wireguard;
in
{
  units = lib.optional cfg.enable "wireguard-${cfg.interface}.service";

  # A key from the password store may still be missing. The node makes its own key before the interface.
  needed = lib.optional (cfg.enable && cfg.keys == "gen-secrets") cfg.privateKeyFile;
}
