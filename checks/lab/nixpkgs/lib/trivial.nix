# Functions on anything: composition, booleans, warnings, versions, files of data.
{ lib }:
let
  release = lib.fileContents ../.version;
in
rec {
  inherit (builtins)
    add
    addErrorContext
    bitAnd
    bitOr
    bitXor
    compareVersions
    deepSeq
    div
    fromJSON
    fromTOML
    genericClosure
    getEnv
    isBool
    isFloat
    isInt
    isString
    lessThan
    mul
    pathExists
    readFile
    seq
    sub
    toJSON
    toString
    trace
    tryEval
    typeOf
    unsafeGetAttrPos
    ;

  id = value: value;
  flip =
    f: a: b:
    f b a;
  pipe = builtins.foldl' (value: f: f value);
  mergeAttrs = a: b: a // b;
  min = a: b: if b < a then b else a;
  max = a: b: if b > a then b else a;
  mod = a: b: a - b * (a / b);
  boolToString = value: if value then "true" else "false";
  mapNullable = f: value: if value == null then null else f value;

  importJSON = path: builtins.fromJSON (builtins.readFile path);
  importTOML = path: builtins.fromTOML (builtins.readFile path);

  # A callable is a function or a set with `__functor`, which may state its arguments (`__functionArgs`).
  isFunction =
    value: builtins.isFunction value || (value ? __functor && isFunction (value.__functor value));
  functionArgs =
    f:
    if f ? __functor then
      f.__functionArgs or (functionArgs (f.__functor f))
    else
      builtins.functionArgs f;
  setFunctionArgs = f: args: {
    __functor = _: f;
    __functionArgs = args;
  };

  fix =
    f:
    let
      result = f result;
    in
    result;
  extends =
    overlay: base: final:
    let
      previous = base final;
    in
    previous // overlay final previous;
  makeExtensible =
    base:
    fix base
    // {
      extend = overlay: makeExtensible (extends overlay base);
    };

  warn = message: builtins.trace "evaluation warning: ${message}";
  throwIf = condition: message: if condition then throw message else id;
  throwIfNot = condition: throwIf (!condition);
  assertMsg = condition: message: if condition then true else throw message;

  # The release that the stand-in follows.
  inherit release;
  version = "${release}.standin";
  versionSuffix = ".standin";
  codeName = "Stand-in";
}
