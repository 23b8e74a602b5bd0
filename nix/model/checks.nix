{ lib, ... }:
let
  inherit (lib) mkOption types;
  own = import ../lib/types.nix { inherit lib; };

  check = types.submodule {
    options = {
      command = mkOption {
        type = types.nullOr (types.nonEmptyListOf types.str);
        default = null;
        example = [
          "systemctl"
          "is-active"
          "nginx.service"
        ];
        description = "Program and arguments, run on the node as root without a shell. Its exit code must be 0.";
      };

      http = mkOption {
        type = types.nullOr (types.strMatching "https?://[^ \n]+");
        default = null;
        example = "http://127.0.0.1:8080/health";
        description = "URL, requested on the node. It must answer with a status below 400.";
      };

      tcp = mkOption {
        type = types.nullOr own.endpoint;
        default = null;
        example = "127.0.0.1:5432";
        description = "Address, tried from the node. It must accept a connection.";
      };

      attempts = mkOption {
        type = types.ints.between 1 100;
        default = 5;
        example = 10;
        description = "Number of attempts before the check fails.";
      };

      interval = mkOption {
        type = types.ints.between 0 600;
        default = 2;
        example = 5;
        description = "Seconds between two attempts.";
      };

      timeout = mkOption {
        type = types.ints.between 1 600;
        default = 10;
        example = 30;
        description = "Seconds after which an attempt fails.";
      };
    };
  };

  ofNode = types.submodule {
    options.checks = mkOption {
      type = types.attrsOf check;
      default = { };
      example = {
        web.http = "http://127.0.0.1:8080/health";
      };
      description = ''
        Checks that must pass on the node after a switch, before it is confirmed. Each sets one of `command`, `http` and
        `tcp`.
      '';
    };
  };
in
{
  options.cluster = mkOption {
    type = types.submodule { options.nodes = mkOption { type = types.attrsOf ofNode; }; };
  };
}
