# Name of an option → its type's description. In names, `<>` stands for an attribute or an element.
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
      # Only a set that contains itself is deeper.
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
