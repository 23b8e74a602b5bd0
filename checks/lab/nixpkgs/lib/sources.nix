# Calling files that make packages.
{ lib }:
rec {
  makeOverridable =
    f: args:
    let
      result = f args;
      again = new: makeOverridable f (args // (if lib.isFunction new then new args else new));
    in
    if lib.isAttrs result then
      result // { override = lib.setFunctionArgs again (lib.functionArgs f); }
    else if lib.isFunction result then
      lib.setFunctionArgs result (lib.functionArgs result) // { override = again; }
    else
      result;
  callPackageWith =
    available: file: given:
    let
      function = if lib.isFunction file then file else import file;
      wanted = lib.functionArgs function;
      missing = lib.attrNames (
        lib.filterAttrs (name: optional: !optional && !(available ? ${name}) && !(given ? ${name})) wanted
      );
    in
    if missing != [ ] then
      throw "callPackage: the stand-in has no ${lib.concatStringsSep ", " missing}, which ${
        if lib.isFunction file then "a package" else toString file
      } wants"
    else
      makeOverridable function (lib.intersectAttrs wanted available // given);
}
