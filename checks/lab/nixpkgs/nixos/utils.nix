# The module argument `utils`.
{ lib }:
rec {
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
  escapeSystemdExecArg =
    value: lib.replaceStrings [ "%" "$" ] [ "%%" "$$" ] (lib.toJSON (toString value));
  escapeSystemdExecArgs = lib.concatMapStringsSep " " escapeSystemdExecArg;
  toShellPath = shell: if shell ? shellPath then "${shell}${shell.shellPath}" else toString shell;
}
