# Files in /etc.
# Follows nixos/modules/system/etc/etc.nix.
{ lib, pkgs, ... }:
let
  inherit (lib) mkOption types;
  inherit (import ./declare.nix { inherit lib; }) flag nullable;
in
{
  options.environment.etc = mkOption {
    default = { };
    example = lib.literalExpression ''{ "motd.d/hello".text = "hello\n"; }'';
    description = "Files in /etc.";
    type = types.attrsOf (
      types.submodule (
        {
          name,
          config,
          options,
          ...
        }:
        {
          options = {
            enable = flag true "Whether the file is made.";
            target = mkOption {
              type = types.str;
              default = name;
              apply = lib.removePrefix "/etc/";
              description = "The path below /etc.";
            };
            text = nullable types.lines "The content.";
            source = mkOption {
              type = types.path;
              description = "The file that has the content.";
            };
            mode = mkOption {
              type = types.str;
              default = "symlink";
              example = "0600";
              description = "`symlink`, `direct-symlink`, or the mode of a copy.";
            };
            uid = mkOption {
              type = types.int;
              default = 0;
              description = "The owner of a copy.";
            };
            gid = mkOption {
              type = types.int;
              default = 0;
              description = "The group of a copy.";
            };
            user = mkOption {
              type = types.str;
              default = "+${toString config.uid}";
              description = "The name of the owner of a copy; takes precedence over uid.";
            };
            group = mkOption {
              type = types.str;
              default = "+${toString config.gid}";
              description = "The name of the group of a copy; takes precedence over gid.";
            };
            # The toplevel has the text itself. `source` makes a file of it for those that read it.
            standinFromText = mkOption {
              type = types.bool;
              internal = true;
              description = "Whether the text is what counts.";
            };
          };
          config = {
            source = lib.mkIf (config.text != null) (
              lib.mkDerivedConfig options.text (pkgs.writeText "etc-${lib.strings.sanitizeDerivationName name}")
            );
            standinFromText = config.text != null && options.source.highestPrio == options.text.highestPrio;
          };
        }
      )
    );
  };
}
