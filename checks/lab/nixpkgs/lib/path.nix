# Functions on path values, and on relative paths as text.
{ lib }:
rec {
  append =
    path: sub:
    assert lib.assertMsg (lib.isPath path) "lib.path.append: the first argument is not a path value";
    assert lib.assertMsg (subpath.isValid sub)
      "lib.path.append: the second argument is not a valid subpath string";
    path + ("/" + sub);
  components = path: lib.filter (part: part != "") (lib.splitString "/" (toString path));
  hasPrefix = parent: path: lib.lists.hasPrefix (components parent) (components path);
  removePrefix =
    parent: path:
    assert lib.assertMsg (hasPrefix parent path)
      "lib.path.removePrefix: the first path is no prefix of the second";
    subpath.join (lib.lists.removePrefix (components parent) (components path));
  subpath = {
    isValid =
      text:
      lib.isString text
      && text != ""
      && !lib.hasPrefix "/" text
      && !lib.elem ".." (lib.splitString "/" text);
    components = text: lib.filter (part: part != "" && part != ".") (lib.splitString "/" text);
    normalise = text: subpath.join [ text ];
    join =
      parts:
      let
        all = lib.concatMap subpath.components parts;
      in
      "./" + (if all == [ ] then "." else lib.concatStringsSep "/" all);
  };
}
