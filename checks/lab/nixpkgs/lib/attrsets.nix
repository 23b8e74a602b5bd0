# Functions on attribute sets.
{ lib }:
let
  inherit (builtins) foldl' head tail;
in
rec {
  inherit (builtins)
    attrNames
    attrValues
    catAttrs
    getAttr
    groupBy
    hasAttr
    intersectAttrs
    isAttrs
    listToAttrs
    mapAttrs
    removeAttrs
    zipAttrsWith
    ;

  nameValuePair = name: value: { inherit name value; };
  genAttrs = names: f: genAttrs' names (name: nameValuePair name (f name));
  genAttrs' = items: f: listToAttrs (map f items);
  mapAttrsToList = f: set: attrValues (mapAttrs f set);
  attrsToList = mapAttrsToList nameValuePair;
  mapAttrs' = f: set: listToAttrs (mapAttrsToList f set);
  concatMapAttrs = f: set: mergeAttrsList (mapAttrsToList f set);
  mergeAttrsList = foldl' (a: b: a // b) { };
  filterAttrs =
    keep: set: removeAttrs set (builtins.filter (name: !keep name set.${name}) (attrNames set));
  foldlAttrs =
    f: start: set:
    foldl' (acc: name: f acc name set.${name}) start (attrNames set);
  foldAttrs =
    f: start: sets:
    zipAttrsWith (_: lib.foldr f start) sets;
  collect =
    wanted: value:
    if wanted value then
      [ value ]
    else if isAttrs value then
      builtins.concatMap (collect wanted) (attrValues value)
    else
      [ ];
  optionalAttrs = condition: set: if condition then set else { };
  attrVals = names: set: map (name: set.${name}) names;
  cartesianProduct =
    set:
    foldl' (
      partial: name:
      builtins.concatMap (done: map (value: done // { ${name} = value; }) set.${name}) partial
    ) [ { } ] (attrNames set);

  hasAttrByPath =
    path: set:
    path == [ ] || (isAttrs set && set ? ${head path} && hasAttrByPath (tail path) set.${head path});
  attrByPath =
    path: fallback: set:
    if path == [ ] then
      set
    else if isAttrs set && set ? ${head path} then
      attrByPath (tail path) fallback set.${head path}
    else
      fallback;
  getAttrFromPath =
    path: set:
    if hasAttrByPath path set then
      attrByPath path null set
    else
      abort "cannot find attribute `${lib.concatStringsSep "." path}'";
  setAttrByPath = path: value: lib.foldr (name: inner: { ${name} = inner; }) value path;

  recursiveUpdateUntil =
    stop: a: b:
    let
      join =
        path: left: right:
        left
        // mapAttrs (
          name: new:
          let
            here = path ++ [ name ];
          in
          if left ? ${name} && !stop here left.${name} new then join here left.${name} new else new
        ) right;
    in
    join [ ] a b;
  recursiveUpdate = recursiveUpdateUntil (
    _: old: new:
    !(isAttrs old && isAttrs new)
  );

  isDerivation = value: isAttrs value && value.type or null == "derivation";
  toDerivation =
    path:
    let
      stored = builtins.storePath path;
      self = {
        type = "derivation";
        name = lib.substring 33 (-1) (baseNameOf stored);
        outPath = stored;
        outputs = [ "out" ];
        out = self;
        outputName = "out";
      };
    in
    self;
  getOutput = output: package: package.${output} or package.out or package;
  getFirstOutput =
    outputs: package:
    let
      found = lib.findFirst (output: package ? ${output}) "out" outputs;
    in
    if package.outputSpecified or false then package else getOutput found package;
  getBin = getFirstOutput [ "bin" ];
}
