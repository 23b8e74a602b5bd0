# The options of a set of option modules: names, `<>` for what a submodule is named by, with the descriptions of their
# types.
{ lib, options }:
let
  visit =
    path: set:
    lib.concatLists (
      lib.mapAttrsToList (
        name: value:
        let
          tried = builtins.tryEval (lib.isAttrs value);
        in
        if
          name == "_module"
          || name == "_freeformOptions"
          || lib.hasPrefix "standin" name
          || !(tried.success && tried.value)
        then
          [ ]
        else
          entry (path ++ [ name ]) value
      ) set
    );
  entry =
    path: value:
    if !lib.isOption value then
      # Deeper than any option is only what contains itself.
      lib.optionals (lib.length path < 9) (visit path value)
    else
      let
        description = builtins.tryEval value.type.description;
        inner = builtins.tryEval (value.type.getSubOptions [ ]);
      in
      [
        {
          name = lib.concatStringsSep "." path;
          value = if description.success then description.value else "?";
        }
      ]
      ++ lib.optionals (
        lib.count (part: part == "<>") path < 2 && inner.success && lib.isAttrs inner.value
      ) (visit (path ++ [ "<>" ]) inner.value);
in
lib.listToAttrs (visit [ ] options)
