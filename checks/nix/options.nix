# The NixOS options that some modules set on some systems, as one nixpkgs declares them: name → type, default and declaring files. In
# names of options of submodules, `<name>` stands for an attribute and `*` for an element of a list.
{
  lib,
  # Systems, as `lib.nixosSystem` gives them.
  systems,
  # Files with a module each.
  modules,
  # The folder of nixpkgs, as text; names of files are relative to it.
  nixpkgs,
}:
let
  isOption = lib.isOption or (value: value._type or null == "option");

  # The values in a definition, without the properties around them (mkIf, mkMerge, …).
  plain =
    value:
    if !lib.isAttrs value || !(value ? _type) then
      [ value ]
    else if value._type == "merge" then
      lib.concatMap plain value.contents
    else if value._type == "if" then
      lib.optionals value.condition (plain value.content)
    else if
      lib.elem value._type [
        "override"
        "order"
      ]
    then
      plain value.content
    else
      [ value ];

  text =
    value:
    let
      printed = builtins.tryEval (builtins.deepSeq (lib.generators.toPretty { multiline = false; } value) (
        lib.generators.toPretty { multiline = false; } value
      ));
    in
    if value ? _type && value ? text then
      value.text
    else if lib.isString value then
      builtins.toJSON value
    else if printed.success then
      printed.value
    else
      "…";

  below = lib.removePrefix "${nixpkgs}/";

  described = option: {
    type = option.type.description or "unspecified";
    default =
      if option ? defaultText then
        lib.trim (
          if lib.isString option.defaultText then option.defaultText else text option.defaultText
        )
      else if option ? default then
        text option.default
      else
        null;
    files = map (file: below (toString file)) (option.declarations or [ ]);
  };

  named = path: lib.concatStringsSep "." path;

  # The options of submodules that a value of this type sets: a list of { name; option; }.
  within =
    path: type: value:
    let
      kind = type.name or "";
      element = type.nestedTypes.elemType or null;
      members = lib.filter (name: name != "_module") (lib.attrNames value);
    in
    if
      lib.elem kind [
        "nullOr"
        "uniq"
        "unique"
        "coercedTo"
      ]
      && lib.isAttrs value
    then
      within path (type.nestedTypes.elemType or type.nestedTypes.finalType or { }) value
    else if
      lib.elem kind [
        "attrsOf"
        "lazyAttrsOf"
      ]
      && element != null
      && lib.isAttrs value
    then
      lib.concatMap (
        name: lib.concatMap (within (path ++ [ "<name>" ]) element) (plain value.${name})
      ) members
    else if kind == "listOf" && element != null && lib.isList value then
      lib.concatMap (part: lib.concatMap (within (path ++ [ "*" ]) element) (plain part)) value
    else if kind == "submodule" && lib.isAttrs value then
      lib.concatMap (member path (type.getSubOptions path) value) members
    else
      [ ];

  # The options that one attribute of a submodule's value sets.
  member =
    path: options: value: name:
    let
      here = path ++ [ name ];
      option = options.${name} or null;
    in
    if option == null then
      # A free-form name belongs to the program, not to NixOS.
      [ ]
    else if isOption option then
      [
        {
          name = named here;
          inherit option;
        }
      ]
      ++ lib.concatMap (within here option.type) (plain value.${name})
    else
      lib.concatMap (
        part: if lib.isAttrs part then lib.concatMap (member here option part) (lib.attrNames part) else [ ]
      ) (plain value.${name});

  # The options that one module sets on one system. No other option is evaluated.
  set =
    system: file:
    let
      module = import file;
      raw =
        if lib.isFunction module then
          module {
            inherit lib;
            inherit (system) config options pkgs;
          }
        else
          module;
      said = raw.config or (removeAttrs raw [
        "imports"
        "options"
      ]);
    in
    lib.concatMap (part: lib.concatMap (member [ ] system.options part) (lib.attrNames part)) (
      plain said
    );

  all = lib.concatMap (system: lib.concatMap (set system) modules) systems;
in
lib.listToAttrs (map (entry: lib.nameValuePair entry.name (described entry.option)) all)
