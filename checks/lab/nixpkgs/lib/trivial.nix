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
  const = value: _: value;
  flip =
    f: a: b:
    f b a;
  pipe = builtins.foldl' (value: f: f value);
  mergeAttrs = a: b: a // b;
  min = a: b: if b < a then b else a;
  max = a: b: if b > a then b else a;
  mod = a: b: a - b * (a / b);
  compare =
    a: b:
    if a < b then
      (-1)
    else if a > b then
      1
    else
      0;
  or = a: b: a || b;
  and = a: b: a && b;
  xor = a: b: a != b;
  boolToString = value: if value then "true" else "false";
  boolToYesNo = value: if value then "yes" else "no";
  mapNullable = f: value: if value == null then null else f value;
  defaultTo = fallback: value: if value == null then fallback else value;

  toBaseDigits =
    base: number:
    if number < base then [ number ] else toBaseDigits base (number / base) ++ [ (mod number base) ];
  toHexString =
    number:
    lib.concatMapStrings (digit: lib.substring digit 1 "0123456789ABCDEF") (toBaseDigits 16 number);
  fromHexString = text: (builtins.fromTOML "n=0x${text}").n;

  importJSON = path: builtins.fromJSON (builtins.readFile path);
  importTOML = path: builtins.fromTOML (builtins.readFile path);

  # A callable is a lambda or a set with `__functor`; its arguments may be written beside it.
  isFunction =
    value: builtins.isFunction value || (value ? __functor && isFunction (value.__functor value));
  toFunction = value: if isFunction value then value else _: value;
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
  mirrorFunctionArgs = f: g: setFunctionArgs g (functionArgs f);

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
  composeExtensions =
    first: second: final: previous:
    let
      step = first final previous;
    in
    step // second final (previous // step);
  composeManyExtensions = builtins.foldl' composeExtensions (_: _: { });
  makeExtensible =
    base:
    fix base
    // {
      extend = overlay: makeExtensible (extends overlay base);
    };

  warn = message: builtins.trace "evaluation warning: ${message}";
  warnIf = condition: message: if condition then warn message else id;
  warnIfNot = condition: warnIf (!condition);
  throwIf = condition: message: if condition then throw message else id;
  throwIfNot = condition: throwIf (!condition);
  assertMsg = condition: message: if condition then true else throw message;
  assertOneOf =
    name: value: allowed:
    assertMsg (builtins.elem value allowed) "${name} must be one of ${
      lib.generators.toPretty { } allowed
    }, but is: ${lib.generators.toPretty { } value}";
  checkListOfEnum =
    name: allowed: values:
    let
      wrong = lib.subtractLists allowed values;
    in
    throwIfNot (wrong == [ ]) "${name}: ${toString wrong} unknown; must be one of ${toString allowed}";
  traceVal = value: builtins.trace value value;
  traceValSeq = value: builtins.trace (builtins.deepSeq value value) value;
  traceSeq = shown: builtins.trace (builtins.deepSeq shown shown);

  # The release that the stand-in takes after; `trivial.release` of the genuine one.
  inherit release;
  version = "${release}.standin";
  versionSuffix = ".standin";
  codeName = "Stand-in";
  revisionWithDefault = fallback: fallback;
  oldestSupportedRelease = 2511;
  isInOldestRelease = wanted: wanted <= oldestSupportedRelease;
  inPureEvalMode = !(builtins ? currentSystem);
  inNixShell = builtins.getEnv "IN_NIX_SHELL" != "";

  fakeHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
  fakeSha256 = "0000000000000000000000000000000000000000000000000000000000000000";
  fakeSha512 = fakeSha256 + fakeSha256;
}
