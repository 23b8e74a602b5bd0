{ lib, ... }:
let
  inherit (lib) mkOption types;
  own = import ../lib/types.nix { inherit lib; };

  secret = types.submodule (
    { name, ... }:
    {
      options = {
        generator = mkOption {
          type = types.enum [
            "random"
            "hex"
            "base64"
            "uuid"
            "wireguard"
            "ssh-host"
            "command"
          ];
          example = "random";
          description = ''
            How `gen-secrets` makes the value: `random`, `length` letters and digits; `hex` and `base64`, `length`
            random bytes in that encoding; `uuid`, a random UUID; `wireguard`, a private key; `ssh-host`, an Ed25519
            host key for OpenSSH; `command`, the output of `command`.
          '';
        };

        length = mkOption {
          type = types.ints.between 8 4096;
          default = 32;
          example = 64;
          description = "Number of characters (`random`) or bytes (`hex`, `base64`). Other generators ignore it.";
        };

        command = mkOption {
          type = types.listOf types.str;
          default = [ ];
          example = [
            "openssl"
            "rand"
            "-base64"
            "48"
          ];
          description = "Program and arguments for the generator `command`, run on the operator's machine without a shell.";
        };

        path = mkOption {
          type = own.nodePath;
          default = "/var/lib/nixcfg/secrets/${name}";
          defaultText = lib.literalExpression ''"/var/lib/nixcfg/secrets/<name>"'';
          example = "/var/lib/garage/rpc-secret";
          description = "File on the nodes that `deploy-secrets` writes.";
        };

        owner = mkOption {
          type = own.userName;
          default = "root";
          example = "garage";
          description = "User that owns the file.";
        };

        group = mkOption {
          type = own.userName;
          default = "root";
          example = "garage";
          description = "Group that the file belongs to.";
        };

        mode = mkOption {
          type = types.strMatching "0[0-7]00|0[0-7][0-4]0" // {
            description = "file mode of four octal digits that gives others nothing";
          };
          default = "0400";
          example = "0440";
          description = "Mode of the file.";
        };

        nodes = mkOption {
          type = types.either (types.enum [ "all" ]) (types.listOf types.str);
          default = "all";
          example = [
            "@storage"
            "cedar"
          ];
          description = "The nodes that get the secret: `all`, or a list of node names, `@tag`, `site:name` and `role:server`.";
        };

        perNode = mkOption {
          type = types.bool;
          default = false;
          example = true;
          description = "Whether each node has a value of its own.";
        };

        reloadUnits = mkOption {
          type = types.listOf own.unit;
          default = [ ];
          example = [ "nginx.service" ];
          description = "Units to reload after the file has changed.";
        };

        restartUnits = mkOption {
          type = types.listOf own.unit;
          default = [ ];
          example = [ "garage.service" ];
          description = "Units to restart after the file has changed.";
        };
      };
    }
  );
in
{
  options.cluster = mkOption {
    type = types.submodule {
      options.secrets = mkOption {
        type = types.attrsOf secret;
        default = { };
        example = {
          garage-rpc = {
            generator = "hex";
            length = 32;
            nodes = [ "@storage" ];
            owner = "garage";
            restartUnits = [ "garage.service" ];
          };
        };
        description = ''
          Secrets that are made once, kept in the operator's password store and written to nodes. Their values are never
          in the Nix store.
        '';
      };
    };
  };
}
