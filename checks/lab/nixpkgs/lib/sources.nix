# Filtering sources, and calling files that make packages.
{ lib }:
rec {
  # A filtered source remembers where it came from, so that filters can be put over filters.
  cleanSourceWith =
    {
      src,
      filter ? _: _: true,
      name ? null,
    }:
    let
      before =
        if src ? _isLibCleanSourceWith then
          src
        else
          {
            origSrc = src;
            filter = _: _: true;
            name = null;
          };
      both = path: type: before.filter path type && filter path type;
      chosen =
        if name != null then
          name
        else if before.name != null then
          before.name
        else
          "source";
      outPath = builtins.path {
        path = before.origSrc;
        name = chosen;
        filter = both;
      };
    in
    {
      _isLibCleanSourceWith = true;
      inherit (before) origSrc;
      filter = both;
      name = chosen;
      inherit outPath;
      __toString = _: toString outPath;
    };
  cleanSourceFilter =
    path: type:
    let
      name = baseNameOf (toString path);
      ends = lib.any (suffix: lib.hasSuffix suffix name) [
        "~"
        ".o"
        ".so"
        ".swp"
      ];
    in
    !(
      type == "directory"
      && lib.elem name [
        ".git"
        ".svn"
        "CVS"
        ".hg"
        ".jj"
      ]
      || type == "symlink" && lib.hasPrefix "result" name
      || type == "unknown"
      || ends
    );
  cleanSource =
    src:
    cleanSourceWith {
      inherit src;
      filter = cleanSourceFilter;
    };
  sourceByRegex =
    src: patterns:
    let
      root = toString (src.origSrc or src) + "/";
    in
    cleanSourceWith {
      inherit src;
      filter =
        path: _:
        let
          relative = lib.removePrefix root (toString path);
        in
        lib.any (pattern: lib.match pattern relative != null) patterns;
    };
  sourceFilesBySuffices =
    src: suffixes:
    cleanSourceWith {
      inherit src;
      filter =
        path: type:
        type == "directory" || lib.any (suffix: lib.hasSuffix suffix (baseNameOf path)) suffixes;
    };
  pathType = path: (builtins.readDir (dirOf path)).${baseNameOf path};
  pathIsDirectory = path: builtins.pathExists path && pathType path == "directory";
  pathIsRegularFile = path: builtins.pathExists path && pathType path == "regular";
  packagesFromDirectoryRecursive =
    { callPackage, directory, ... }:
    lib.mapAttrs'
      (
        name: type:
        if type == "directory" && builtins.pathExists (directory + "/${name}/package.nix") then
          lib.nameValuePair name (callPackage (directory + "/${name}/package.nix") { })
        else if type == "directory" then
          lib.nameValuePair name (packagesFromDirectoryRecursive {
            inherit callPackage;
            directory = directory + "/${name}";
          })
        else
          lib.nameValuePair (lib.removeSuffix ".nix" name) (callPackage (directory + "/${name}") { })
      )
      (
        lib.filterAttrs (name: type: type == "directory" || lib.hasSuffix ".nix" name) (
          builtins.readDir directory
        )
      );
  filesystem = {
    inherit
      pathType
      pathIsDirectory
      pathIsRegularFile
      packagesFromDirectoryRecursive
      ;
    listFilesRecursive =
      folder:
      lib.concatLists (
        lib.mapAttrsToList (
          name: type:
          if type == "directory" then
            filesystem.listFilesRecursive (folder + "/${name}")
          else
            [ (folder + "/${name}") ]
        ) (builtins.readDir folder)
      );
  };

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
