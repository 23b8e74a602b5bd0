# Debian's last Consul, 1.8.7, refuses settings that it does not know. Its main file therefore has their older names; modules read the
# text as they wrote it.
{ lib, pkgs, ... }:
let
  # Names before 1.9 (ui_config) and 1.12 (tls).
  older =
    settings:
    let
      tls = settings.tls or { };
    in
    removeAttrs settings [
      "tls"
      "ui_config"
    ]
    // {
      ui = settings.ui_config.enabled or false;
    }
    // tls.defaults or { }
    // tls.internal_rpc or { };
in
{
  options.environment.etc = lib.mkOption {
    type = lib.types.attrsOf (
      lib.types.submodule (
        { name, config, ... }:
        {
          config = lib.mkIf (name == "consul.json") {
            source = lib.mkForce (
              pkgs.writeText "consul-1.8.json" (builtins.toJSON (older (builtins.fromJSON config.text)))
            );
          };
        }
      )
    );
  };
}
