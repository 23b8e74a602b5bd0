# The packages in files such as packages.nix. A file may add Debian packages to a package of an earlier file.
builtins.foldl' (
  all: file:
  all
  // builtins.mapAttrs (
    name: more:
    let
      earlier = all.${name} or { debs = [ ]; };
    in
    earlier // more // { debs = earlier.debs ++ more.debs; }
  ) (import file)
) { }
