# Services of programs that a Debian node may or may not have. Their units are the configuration's in full; where the
# program is absent a condition keeps the unit from starting, and every switch says so.
{
  config,
  lib,
  ...
}:
let
  inherit (lib) mkOption types;
  folders = [
    "/usr/local/sbin"
    "/usr/local/bin"
    "/usr/sbin"
    "/usr/bin"
  ];
in
{
  options.standin.programs = mkOption {
    default = { };
    internal = true;
    description = "Services by the program of the node that they run.";
    type = types.attrsOf (
      types.submodule {
        options = {
          program = mkOption {
            type = types.str;
            description = "The program's name.";
          };
          option = mkOption {
            type = types.str;
            description = "What asked for it.";
          };
        };
      }
    );
  };
  config.systemd.services = lib.mapAttrs (_: one: {
    # Any one of the places will do; conditions without a bar are asked beside these.
    unitConfig.ConditionPathExists = map (folder: "|${folder}/${one.program}") folders;
  }) config.standin.programs;
}
