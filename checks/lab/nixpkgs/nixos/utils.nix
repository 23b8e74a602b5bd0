# The module argument `utils`.
{ lib }:
{
  escapeSystemdPath =
    path:
    let
      trimmed = lib.concatStringsSep "/" (lib.filter (part: part != "") (lib.splitString "/" path));
      escaped = lib.replaceStrings [ "-" " " "/" ] [ "\\x2d" "\\x20" "-" ] trimmed;
    in
    if trimmed == "" then
      "-"
    else if lib.hasPrefix "." trimmed then
      "\\x2e" + lib.substring 1 (-1) escaped
    else
      escaped;
}
