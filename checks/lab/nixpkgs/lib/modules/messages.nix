# How options and definitions are shown in messages.
{ lib }:
rec {
  showOption =
    path:
    let
      part =
        name:
        if lib.elem name [ "*" ] || lib.match "<.*>" name != null then
          name
        else
          lib.strings.escapeNixIdentifier name;
    in
    lib.concatMapStringsSep "." part path;
  showFiles = lib.concatMapStringsSep " and " (file: "`${file}'");
  showDefs =
    definitions:
    lib.concatMapStrings (
      { file, value, ... }:
      let
        shown = lib.generators.withRecursion {
          depthLimit = 10;
          throwOnDepthLimit = false;
        } value;
        text = lib.tryEval (lib.generators.toPretty { indent = "    "; } shown);
        lines = lib.splitString "\n" text.value;
        cut =
          if !text.success then
            ""
          else if lib.length lines > 5 then
            ": " + lib.concatStringsSep "\n" (lib.take 5 lines) + "\n    ..."
          else
            ": " + text.value;
      in
      "\n- In `${file}'${cut}"
    ) definitions;

  # "Did you mean" for a name that does not exist, with names that are similar.
  nearNames =
    wanted: names:
    let
      close = lib.filter (pair: pair.distance <= lib.max 1 (lib.stringLength wanted / 3)) (
        map (name: {
          inherit name;
          distance = lib.strings.levenshtein wanted name;
        }) (lib.filter (name: name != "_module") names)
      );
      best = map (pair: "`${pair.name}'") (lib.take 3 (lib.sort (a: b: a.distance < b.distance) close));
    in
    if best == [ ] then
      ""
    else
      " Did you mean ${lib.concatStringsSep ", " (lib.init best)}${
         lib.optionalString (lib.length best > 1) " or "
       }${lib.last best}?";
}
