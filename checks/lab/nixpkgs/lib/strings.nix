# Functions on strings.
{ lib }:
let
  inherit (builtins) genList length;
  lowerChars = stringToCharacters "abcdefghijklmnopqrstuvwxyz";
  upperChars = stringToCharacters "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  inherit (builtins) substring stringLength replaceStrings;
  stringToCharacters = text: genList (index: substring index 1 text) (stringLength text);
  # White space, for bracket expressions of `match`.
  blanks = " \t\r\n";
in
rec {
  inherit (builtins)
    baseNameOf
    concatStringsSep
    dirOf
    hashString
    isString
    match
    parseDrvName
    replaceStrings
    split
    splitVersion
    storeDir
    stringLength
    substring
    unsafeDiscardStringContext
    hasContext
    getContext
    fromJSON
    toJSON
    ;
  inherit stringToCharacters lowerChars upperChars;

  concatStrings = concatStringsSep "";
  concatMapStringsSep =
    separator: f: values:
    concatStringsSep separator (map f values);
  concatMapStrings = concatMapStringsSep "";
  concatMapAttrsStringSep =
    separator: f: set:
    concatStringsSep separator (lib.mapAttrsToList f set);
  concatImapStringsSep =
    separator: f: values:
    concatStringsSep separator (lib.imap1 f values);
  concatImapStrings = concatImapStringsSep "";
  concatLines = concatMapStrings (line: line + "\n");
  join = concatStringsSep;
  optionalString = condition: text: if condition then text else "";
  replicate = count: text: concatStrings (genList (_: text) count);
  makeSearchPath =
    folder: packages:
    concatMapStringsSep ":" (package: "${package}/${folder}") (lib.filter (p: p != null) packages);
  makeSearchPathOutput =
    output: folder: packages:
    makeSearchPath folder (map (lib.getOutput output) packages);
  makeBinPath = makeSearchPathOutput "bin" "bin";

  hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
  hasSuffix =
    suffix: text:
    let
      start = stringLength text - stringLength suffix;
    in
    start >= 0 && substring start (-1) text == suffix;
  hasInfix = infix: text: length (split (escapeRegex infix) text) > 1;
  removePrefix =
    prefix: text: if hasPrefix prefix text then substring (stringLength prefix) (-1) text else text;
  removeSuffix =
    suffix: text:
    if hasSuffix suffix text then substring 0 (stringLength text - stringLength suffix) text else text;
  trim = trimWith {
    start = true;
    end = true;
  };
  trimWith =
    {
      start ? false,
      end ? false,
    }:
    text:
    let
      left = if start then lib.head (match "[${blanks}]*(.*)" text) else text;
      right = match "(.*[^${blanks}])[${blanks}]*" left;
    in
    if !end then
      left
    else if right == null then
      ""
    else
      lib.head right;

  escape = characters: replaceStrings characters (map (c: "\\" + c) characters);
  escapeRegex = escape (stringToCharacters "\\[{()^$?*+|.");
  escapeShellArg =
    value:
    let
      text = toString value;
    in
    if match "[[:alnum:],._+:@%/-]+" text != null then
      text
    else
      "'${replaceStrings [ "'" ] [ "'\\''" ] text}'";
  escapeShellArgs = concatMapStringsSep " " escapeShellArg;
  isValidPosixName = name: match "[a-zA-Z_][a-zA-Z0-9_]*" name != null;
  toShellVar =
    name: value:
    lib.throwIfNot (isValidPosixName name) "toShellVar: ${name} is not a valid shell variable name" (
      if lib.isAttrs value && !isStringLike value then
        "declare -A ${name}=(${
          concatMapAttrsStringSep " " (key: v: "[${escapeShellArg key}]=${escapeShellArg v}") value
        })"
      else if lib.isList value then
        "declare -a ${name}=(${escapeShellArgs value})"
      else
        "${name}=${escapeShellArg value}"
    );
  toShellVars = concatMapAttrsStringSep "\n" toShellVar;
  escapeNixString = text: escape [ "$" ] (lib.toJSON text);
  escapeNixIdentifier =
    text:
    if
      match "[a-zA-Z_][a-zA-Z0-9_'-]*" text != null
      && !lib.elem text [
        "assert"
        "else"
        "if"
        "in"
        "inherit"
        "let"
        "or"
        "rec"
        "then"
        "with"
      ]
    then
      text
    else
      escapeNixString text;

  toLower = replaceStrings upperChars lowerChars;
  toUpper = replaceStrings lowerChars upperChars;
  splitString =
    separator: text: lib.filter isPiece (split (escapeRegex (toString separator)) (toString text));
  isPiece = builtins.isString;
  fixedWidthString =
    width: filler: text:
    let
      missing = width - stringLength text;
    in
    lib.throwIf (missing < 0)
      "fixedWidthString: requested string length (${toString width}) must not be shorter than actual length (${toString (stringLength text)})"
      (substring 0 missing (replicate missing filler) + text);
  fixedWidthNumber = width: number: fixedWidthString width "0" (toString number);

  isStringLike =
    value: builtins.isString value || builtins.isPath value || value ? outPath || value ? __toString;
  isStorePath =
    value:
    isStringLike value
    && lib.hasPrefix builtins.storeDir (toString value)
    && dirOf (toString value) == builtins.storeDir;
  floatToString = toString;
  toInt =
    text:
    let
      found = match "[${blanks}]*(-?[1-9][0-9]*|0)[${blanks}]*" text;
    in
    if found == null then
      throw "toInt: Could not convert ${escapeNixString text} to int."
    else
      lib.fromJSON (lib.head found);
  toIntBase10 =
    text:
    let
      found = match "[${blanks}]*(-?)0*([0-9]+)[${blanks}]*" text;
    in
    if found == null then
      throw "toIntBase10: Could not convert ${escapeNixString text} to int."
    else
      lib.fromJSON (concatStrings found);
  fileContents = path: removeSuffix "\n" (builtins.readFile path);
  levenshtein =
    a: b:
    let
      as = stringToCharacters a;
      bs = stringToCharacters b;
      nextRow =
        row: c:
        lib.foldl'
          (
            new: pair:
            new
            ++ [
              (lib.foldl' lib.min (lib.last new + 1) [
                (pair.above + 1)
                (pair.diagonal + (if pair.c == c then 0 else 1))
              ])
            ]
          )
          [ (lib.head row + 1) ]
          (
            lib.imap0 (index: c: {
              inherit c;
              diagonal = lib.elemAt row index;
              above = lib.elemAt row (index + 1);
            }) bs
          );
    in
    lib.last (lib.foldl' nextRow (lib.range 0 (length bs)) as);

  versionOlder = wanted: given: builtins.compareVersions given wanted == 1;
  versionAtLeast = given: wanted: !versionOlder given wanted;
  getName =
    package:
    if lib.isString package then
      (parseDrvName package).name
    else
      package.pname or (parseDrvName package.name).name;
  sanitizeDerivationName =
    name:
    let
      clean = concatMapStrings (part: if builtins.isList part then "-" else part) (
        split "[^[:alnum:]+._?=-]+" (unsafeDiscardStringContext (toString name))
      );
      undotted = lib.head (match "\\.*(.*)" clean);
    in
    if undotted == "" then
      "unknown"
    else
      substring (lib.max 0 (stringLength undotted - 207)) (-1) undotted;
}
