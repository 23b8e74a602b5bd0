# Types without element types: booleans, numbers, text, paths, packages.
{ lib }:
let
  inherit (lib.types) mkOptionType addCheck;
  equal =
    name: description: check:
    mkOptionType {
      inherit name description check;
      descriptionClass = "noun";
      merge = lib.options.mergeEqualOption;
    };
  bounded =
    kind: name: lowest: highest: description:
    addCheck kind (value: value >= lowest && value <= highest)
    // {
      inherit name description;
    };
  between =
    lowest: highest:
    assert lib.assertMsg (lowest <= highest) "ints.between: lowest must be smaller than highest";
    bounded lib.types.int "intBetween" lowest highest
      "integer between ${toString lowest} and ${toString highest} (both inclusive)";
  unsignedWidth =
    bits: highest:
    bounded lib.types.int "unsignedInt${toString bits}" 0 highest
      "${toString bits} bit unsigned integer; between 0 and ${toString highest} (both inclusive)";
  signedWidth =
    bits: highest:
    bounded lib.types.int "signedInt${toString bits}" (-highest - 1) highest
      "${toString bits} bit signed integer; between ${toString (-highest - 1)} and ${toString highest} (both inclusive)";
  isNumber = value: lib.isInt value || lib.isFloat value;
in
rec {
  unspecified = mkOptionType {
    name = "unspecified";
    description = "unspecified value";
    descriptionClass = "noun";
  };
  raw = mkOptionType {
    name = "raw";
    description = "raw value";
    descriptionClass = "noun";
    merge = lib.options.mergeOneOption;
  };
  bool = equal "bool" "boolean" lib.isBool;
  int = equal "int" "signed integer" lib.isInt;
  float = equal "float" "floating point number" lib.isFloat;
  number = equal "number" "signed integer or floating point number" isNumber;
  ints = {
    inherit between;
    unsigned = addCheck int (value: value >= 0) // {
      name = "unsignedInt";
      description = "unsigned integer, meaning >=0";
      descriptionClass = "nonRestrictiveClause";
    };
    positive = addCheck int (value: value > 0) // {
      name = "positiveInt";
      description = "positive integer, meaning >0";
      descriptionClass = "nonRestrictiveClause";
    };
    u8 = unsignedWidth 8 255;
    u16 = unsignedWidth 16 65535;
    u32 = unsignedWidth 32 4294967295;
    s8 = signedWidth 8 127;
    s16 = signedWidth 16 32767;
    s32 = signedWidth 32 2147483647;
  };
  port = ints.u16;

  str = equal "str" "string" lib.isString;
  nonEmptyStr = equal "nonEmptyStr" "non-empty string" (
    value: lib.isString value && lib.match "[ \t\n]*" value == null
  );
  strMatching =
    pattern:
    mkOptionType {
      name = "strMatching ${lib.strings.escapeNixString pattern}";
      description = "string matching the pattern ${pattern}";
      descriptionClass = "noun";
      check = value: lib.isString value && lib.match pattern value != null;
      merge = lib.options.mergeEqualOption;
      functor = {
        name = "strMatching";
        type = { pattern }: strMatching pattern;
        wrapped = null;
        payload = { inherit pattern; };
        binOp = a: b: if a == b then a else null;
      };
    };
  singleLineStr =
    let
      line = strMatching "[^\n\r]*\n?";
    in
    line
    // {
      name = "singleLineStr";
      description = "(optionally newline-terminated) single-line string";
      merge = loc: definitions: lib.removeSuffix "\n" (lib.options.mergeEqualOption loc definitions);
    };
  separatedString =
    separator:
    mkOptionType rec {
      name = "separatedString";
      description =
        if separator == "" then
          "Concatenated string"
        else
          "strings concatenated with ${lib.strings.escapeNixString separator}";
      descriptionClass = "noun";
      check = lib.isString;
      merge =
        _: definitions: lib.concatMapStringsSep separator (definition: definition.value) definitions;
      functor = {
        inherit name;
        type = { sep }: separatedString sep;
        wrapped = separator;
        payload.sep = separator;
        binOp = a: b: if a.sep == b.sep then a else null;
      };
    };
  lines = separatedString "\n" // {
    name = "separatedString";
  };
  commas = separatedString ",";
  envVar = separatedString ":";

  path = pathWith { absolute = true; };
  pathInStore = pathWith { inStore = true; };
  pathWith =
    {
      inStore ? null,
      absolute ? null,
    }:
    mkOptionType {
      name = if inStore == true then "pathInStore" else "path";
      description = "${
        if absolute == null then
          ""
        else if absolute then
          "absolute "
        else
          "relative "
      }path${
        if inStore == null then
          ""
        else if inStore then
          " in the Nix store"
        else
          " not in the Nix store"
      }";
      descriptionClass = "noun";
      merge = lib.options.mergeEqualOption;
      check =
        value:
        let
          text = toString value;
          stored =
            lib.hasPrefix builtins.storeDir text
            && lib.match "/[^/.][^/]*.*" (lib.removePrefix builtins.storeDir text) != null;
        in
        lib.strings.isStringLike value
        && (absolute == null || absolute == lib.hasPrefix "/" text)
        && (inStore == null || inStore == stored);
      functor = {
        name = "path";
        type = pathWith;
        wrapped = null;
        payload = { inherit inStore absolute; };
        binOp = a: b: if a == b then a else null;
      };
    };
  package = mkOptionType {
    name = "package";
    description = "package";
    descriptionClass = "noun";
    check = value: lib.isDerivation value || lib.strings.isStorePath value;
    merge =
      loc: definitions:
      let
        value = lib.options.mergeOneOption loc definitions;
      in
      if lib.isString value && builtins.hasContext value == false || lib.isPath value then
        lib.toDerivation value
      else
        value;
  };
  shellPackage = package // {
    check = value: lib.isDerivation value && value ? shellPath;
  };
  pkgs = mkOptionType {
    name = "pkgs";
    description = "Nixpkgs package set";
    descriptionClass = "noun";
    check = value: value._type or null == "pkgs";
    merge = lib.options.mergeOneOption;
  };

  attrs = mkOptionType {
    name = "attrs";
    description = "attribute set";
    check = lib.isAttrs;
    emptyValue.value = { };
    merge = _: lib.foldl' (merged: definition: merged // definition.value) { };
  };

  # Any value. Sets are merged at every depth, a list must be defined once, functions are merged by their results, and
  # all else must be equal.
  anything = mkOptionType {
    name = "anything";
    description = "anything";
    descriptionClass = "noun";
    merge =
      loc: definitions:
      let
        kindOf =
          value:
          if lib.isAttrs value && lib.strings.isStringLike value then
            "stringCoercibleSet"
          else
            builtins.typeOf value;
        kinds = lib.unique (map (definition: kindOf definition.value) definitions);
        first = lib.head definitions;
        byKind = {
          set = (lib.types.lazyAttrsOf anything).merge;
          list = if lib.length definitions == 1 then (_: _: first.value) else lib.options.mergeOneOption;
          lambda =
            loc': defs: argument:
            anything.merge (loc' ++ [ "<function body>" ]) (map (d: d // { value = d.value argument; }) defs);
        };
      in
      if lib.length kinds != 1 then
        throw "The option `${lib.showOption loc}' has conflicting option types in ${
          lib.showFiles (map (d: d.file) definitions)
        }"
      else
        (byKind.${lib.head kinds} or lib.options.mergeEqualOption) loc definitions;
  };
}
