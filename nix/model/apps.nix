{ lib, ... }:
let
  inherit (lib) mkOption types;
  own = import ../lib/types.nix { inherit lib; };
in
{
  options.cluster = mkOption {
    type = types.submodule {
      options.apps.order = mkOption {
        type = types.listOf own.label;
        default = [
          "core"
          "frontend"
          "telemetry"
          "garage"
          "directory"
        ];
        example = [
          "core"
          "frontend"
        ];
        description = ''
          Apps (folders of `app/`) that `deploy-apps` starts first, in this order; the others follow in alphabetical
          order. A name without a folder is skipped.
        '';
      };
    };
  };
}
