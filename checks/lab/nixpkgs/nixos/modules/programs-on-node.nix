# Services whose program a Debian node may lack. Their units are complete. Without the program, a condition keeps the unit
# from starting, and every switch says so.
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
    # One of these is enough; conditions without a bar must hold as well (systemd.unit(5)).
    unitConfig.ConditionPathExists = map (folder: "|${folder}/${one.program}") folders;
  }) config.standin.programs;
}
