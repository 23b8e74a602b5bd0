# The properties of definitions: conditions, merges, priorities and order.
{ lib }:
rec {
  mkIf = condition: content: {
    _type = "if";
    inherit condition content;
  };
  mkMerge = contents: {
    _type = "merge";
    inherit contents;
  };
  mkOverride = priority: content: {
    _type = "override";
    inherit priority content;
  };
  mkOrder = priority: content: {
    _type = "order";
    inherit priority content;
  };
  # A lower number wins.
  defaultOverridePriority = 100;
  mkOptionDefault = mkOverride 1500;
  mkDefault = mkOverride 1000;
  mkForce = mkOverride 50;
  mkVMOverride = mkOverride 10;
  # A lower number comes first.
  defaultOrderPriority = 1000;
  mkBefore = mkOrder 500;
  mkAfter = mkOrder 1500;

  mkAliasDefinitions = mkAliasAndWrapDefinitions lib.id;
  mkAliasAndWrapDefinitions =
    wrap: option: mkIf (lib.isOption option && option.isDefined) (wrap (mkMerge option.definitions));
  mkAliasAndWrapDefsWithPriority =
    wrap: option:
    mkIf (lib.isOption option && option.isDefined) (
      wrap (mkMerge (map (mkOverride option.highestPrio) option.definitions))
    );
  mkDerivedConfig = option: f: mkIf option.isDefined (mkOverride option.highestPrio (f option.value));

  # The plain sets in a definition of a set of options. Each member gets the set's properties, so that the names are
  # known before a condition is evaluated.
  spread =
    value:
    let
      kind = value._type or "";
    in
    if kind == "merge" then
      lib.concatMap spread value.contents
    else if kind == "if" then
      map (lib.mapAttrs (_: mkIf value.condition)) (spread value.content)
    else if kind == "override" then
      map (lib.mapAttrs (_: mkOverride value.priority)) (spread value.content)
    else
      [ value ];

  # The values in a definition of one option, without merges and conditions.
  discharge =
    value:
    let
      kind = value._type or "";
    in
    if kind == "merge" then
      lib.concatMap discharge value.contents
    else if kind == "if" then
      if !lib.isBool value.condition then
        throw "mkIf was called with a condition that is a ${lib.typeOf value.condition}, not a Boolean"
      else if value.condition then
        discharge value.content
      else
        [ ]
    else
      [ value ];

  # The definitions ({ file; value; }) of the strongest priority, without properties and in order.
  strongest =
    definitions:
    let
      priorityOf =
        d: if d.value._type or "" == "override" then d.value.priority else defaultOverridePriority;
      priority = lib.foldl' (low: d: lib.min low (priorityOf d)) 9999 definitions;
      unwrap = d: if d.value._type or "" == "override" then d // { value = d.value.content; } else d;
      kept = map unwrap (lib.filter (d: priorityOf d == priority) definitions);
      isOrdered = d: d.value._type or "" == "order";
      ranked = map (
        d:
        if isOrdered d then
          d
          // {
            value = d.value.content;
            inherit (d.value) priority;
          }
        else
          d
      ) kept;
      rank = d: d.priority or defaultOrderPriority;
    in
    {
      inherit priority;
      definitions = if lib.any isOrdered kept then lib.sort (a: b: rank a < rank b) ranked else kept;
    };
}
