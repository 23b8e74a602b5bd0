# Short forms of mkOption, for options of one type each.
{ lib }:
let
  inherit (lib) mkOption types;
in
{
  flag =
    default: description:
    mkOption {
      type = types.bool;
      inherit default description;
    };
  strings =
    default: description:
    mkOption {
      type = types.listOf types.str;
      inherit default description;
    };
  lines =
    description:
    mkOption {
      type = types.lines;
      default = "";
      inherit description;
    };
  open =
    description:
    mkOption {
      type = types.submodule { freeformType = types.attrsOf types.anything; };
      default = { };
      inherit description;
    };
  nullable =
    type: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description;
    };
  text =
    default: description:
    mkOption {
      type = types.str;
      inherit default description;
    };
}
