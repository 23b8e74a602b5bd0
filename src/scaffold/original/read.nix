# Reads files of a repository of the original scripts as data, without the modules and the package set that they expect.
#
#   files   their paths, that of the cluster first
#   wanted  null: all settings, each with its value. false: all without values. A number: the value of that one.
{ files, wanted }:
let
  inherit (builtins)
    all
    attrNames
    concatMap
    elemAt
    filter
    functionArgs
    isAttrs
    isFunction
    isList
    length
    listToAttrs
    mapAttrs
    tryEval
    typeOf
    unsafeGetAttrPos
    ;

  prioritised = priority: content: {
    _type = "override";
    inherit priority content;
  };
  ordered = priority: content: {
    _type = "order";
    inherit priority content;
  };

  # The functions of nixpkgs' lib that such files call most.
  lib = builtins // {
    mkIf = condition: content: {
      _type = "if";
      inherit condition content;
    };
    mkMerge = contents: {
      _type = "merge";
      inherit contents;
    };
    mkOverride = prioritised;
    mkForce = prioritised 50;
    mkDefault = prioritised 1000;
    mkOrder = ordered;
    mkBefore = ordered 500;
    mkAfter = ordered 1500;
    optional = condition: value: if condition then [ value ] else [ ];
    optionals = condition: values: if condition then values else [ ];
    optionalAttrs = condition: set: if condition then set else { };
    optionalString = condition: text: if condition then text else "";
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    nameValuePair = name: value: { inherit name value; };
    genAttrs = names: f: listToAttrs (map (name: { inherit name; value = f name; }) names);
    concatMapStringsSep = separator: f: list: builtins.concatStringsSep separator (map f list);
    filterAttrs = keep: set: removeAttrs set (filter (name: !keep name set.${name}) (attrNames set));
    recursiveUpdate = merge;
    inherit lib;
  };

  merge =
    left: right:
    left
    // mapAttrs (
      name: value:
      if isAttrs value && isAttrs (left.${name} or null) then merge left.${name} value else value
    ) right;

  modules = map (
    file:
    let
      module = import file;
      arguments = {
        inherit lib;
        pkgs = { inherit lib; };
        # What the cluster's file and this one set: which site's apply to a node is not known here.
        config = merge (settingsOf (elemAt modules 0)) (settingsOf called);
      };
      # An argument that only the original's own evaluation has.
      unknown = mapAttrs (name: _: throw "it needs the argument ${name}") (functionArgs module);
      called = if isFunction module then module (unknown // arguments) else module;
    in
    called
  ) files;

  # A module with `config` keeps its settings there.
  settingsOf =
    module:
    if module ? config then
      module.config // (if module ? imports then { inherit (module) imports; } else { })
    else
      module;

  # A value as { data; }, or { why; } where it is no plain data.
  encode =
    value:
    let
      type = typeOf value;
      parts = if type == "list" then map encode value else mapAttrs (_: encode) value;
      whole = if type == "list" then parts else map (name: parts.${name}) (attrNames parts);
      bad = filter (part: part ? why) whole;
    in
    if type == "lambda" then
      { why = "a function"; }
    else if type == "path" then
      { why = "a path of that repository"; }
    else if isAttrs value && (value ? _type || value.type or null == "derivation") then
      { why = "no plain data"; }
    else if type == "list" || type == "set" then
      if bad != [ ] then
        elemAt bad 0
      else if type == "list" then
        { data = map (part: part.data) parts; }
      else
        { data = mapAttrs (_: part: part.data) parts; }
    else
      { data = value; };

  tried =
    value:
    let
      result = tryEval (builtins.deepSeq (encode value) (encode value));
    in
    if result.success then result.value else { why = "needs what is in that repository or in nixpkgs"; };

  # The settings in a set: name by name to each value that is no set of names.
  walk =
    file: path: position: priority: set:
    concatMap (
      name:
      let
        at = unsafeGetAttrPos name set;
        here = if at == null then position else { inherit (at) file line; };
      in
      enter file (path ++ [ name ]) here priority (tryEval set.${name}) set.${name}
    ) (attrNames set);

  enter =
    file: path: here: priority: result: value:
    let
      setting = what: [ (here // { inherit path priority; } // what) ];
      type = if isAttrs value then value._type or "set" else "value";
      condition = tryEval value.condition;
    in
    if !result.success then
      setting { known.why = "needs what is in that repository or in nixpkgs"; }
    else if type == "set" && value != { } && value.type or null != "derivation" then
      walk file path here priority value
    else if type == "override" then
      enter file path here value.priority (tryEval value.content) value.content
    else if type == "merge" then
      concatMap (one: enter file path here priority (tryEval one) one) value.contents
    else if type == "if" && condition.success then
      if condition.value then
        enter file path here priority (tryEval value.content) value.content
      else
        [ ]
    else if type == "if" then
      setting { known.why = "depends on what is in that repository"; }
    else if type == "order" then
      setting { known.why = "is put in order (mkBefore, mkAfter)"; }
    else
      setting { inherit value; };

  found = concatMap (
    index:
    let
      file = elemAt files index;
      position = {
        file = toString file;
        line = 0;
      };
    in
    map (setting: setting // { source = index; }) (
      walk file [ ] position null (settingsOf (elemAt modules index))
    )
  ) (builtins.genList (index: index) (length files));

  shown =
    setting:
    removeAttrs setting [
      "value"
      "known"
    ];
  valued = setting: setting.known or (tried setting.value);
in
if wanted == null then
  map (setting: shown setting // { value = valued setting; }) found
else if wanted == false then
  map shown found
else
  valued (elemAt found wanted)
