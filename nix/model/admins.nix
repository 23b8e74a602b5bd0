{ lib, ... }:
let
  inherit (lib) mkOption types;
  own = import ../lib/types.nix { inherit lib; };

  admin = types.submodule (
    { name, ... }:
    {
      options = {
        keys = mkOption {
          type = types.listOf own.sshPublicKey;
          default = [ ];
          example = [
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0lP7tJCyVnUvS4lU3Vu0yyTUtPnjTNs7TN8f7RFqkS alice@example.org"
          ];
          description = "SSH public keys with which the administrator logs in.";
        };

        passwordFile = mkOption {
          type = own.nodePath;
          default = "/var/lib/nixcfg/passwords/${name}";
          defaultText = lib.literalExpression ''"/var/lib/nixcfg/passwords/<name>"'';
          example = "/persist/passwords/alice";
          description = ''
            File on the node that holds the hash of the administrator's password and nothing else; `deploy-passwords`
            writes it. It must be on a persistent file system that is mounted before users are made.
          '';
        };
      };
    }
  );
in
{
  options.cluster = mkOption {
    type = types.submodule {
      options.mutableUsers = mkOption {
        type = types.bool;
        default = true;
        example = false;
        description = ''
          Whether users and passwords made by hand on a node stay. With immutable users, the next activation locks an
          administrator whose password file is missing on the node; `deploy-nixos` refuses to activate such a system.
          Mutable users cannot lock anyone out.
        '';
      };

      options.admins = mkOption {
        type = types.attrsOf admin;
        default = { };
        example = {
          alice.keys = [
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0lP7tJCyVnUvS4lU3Vu0yyTUtPnjTNs7TN8f7RFqkS alice@example.org"
          ];
        };
        description = ''
          Administrators: each has an account in group `wheel`, logs in by SSH key and becomes root by sudo with a
          password. Declared in `cluster.nix`, they are on every node; declared in a site's file, on the nodes of that
          site alone.
        '';
      };
    };
  };
}
