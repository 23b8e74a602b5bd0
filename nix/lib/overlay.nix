# What a service that uses the overlay's addresses waits for; nothing where there is no overlay.
{ lib, cluster }:
let
  cfg = cluster.wireguard;
in
{
  units = lib.optional cfg.enable "wireguard-${cfg.interface}.service";

  # A key that the node makes itself is made before the interface; one that is sent may still be missing.
  needed = lib.optional (cfg.enable && cfg.keys == "gen-secrets") cfg.privateKeyFile;
}
