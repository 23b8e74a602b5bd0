# Types made of other types.
{ lib }:
let
  inherit (lib.types)
    mkOptionType
    elementFunctor
    inner
    noun
    phrase
    ;
  inherit (lib.modules) mergeDefinitions;
in
rec {
  listOf =
    element:
    mkOptionType rec {
      name = "listOf";
      description = "list of ${inner element}";
      descriptionClass = "composite";
      check = lib.isList;
      merge =
        loc: definitions:
        lib.concatMap (result: lib.optional (result ? value) result.value) (
          lib.concatLists (
            lib.imap1 (
              n: definition:
              lib.imap1 (
                m: value:
                (mergeDefinitions (loc ++ [ "[definition ${toString n}-entry ${toString m}]" ]) element [
                  {
                    inherit (definition) file;
                    inherit value;
                  }
                ]).optionalValue
              ) definition.value
            ) definitions
          )
        );
      emptyValue.value = [ ];
      getSubOptions = prefix: element.getSubOptions (prefix ++ [ "*" ]);
      inherit (element) getSubModules;
      substSubModules = modules: listOf (element.substSubModules modules);
      functor = elementFunctor name listOf element;
      nestedTypes.elemType = element;
    };
  nonEmptyListOf =
    element:
    let
      list = lib.types.addCheck (listOf element) (value: value != [ ]);
    in
    list
    // {
      description = "non-empty (${list.description})";
      emptyValue = { };
      substSubModules = modules: nonEmptyListOf (element.substSubModules modules);
    };

  setOf =
    lazy: placeholder: element:
    mkOptionType rec {
      name = if lazy then "lazyAttrsOf" else "attrsOf";
      description = (
        if lazy then "lazy attribute set of ${inner element}" else "attribute set of ${inner element}"
      );
      descriptionClass = "composite";
      check = lib.isAttrs;
      merge =
        loc: definitions:
        let
          byName = lib.zipAttrsWith (_: all: all) (
            map (
              definition:
              lib.mapAttrs (_: value: {
                inherit (definition) file;
                inherit value;
              }) definition.value
            ) definitions
          );
          merged = lib.mapAttrs (key: mergeDefinitions (loc ++ [ key ]) element) byName;
        in
        if lazy then
          # The names must not depend on the values, so a name without a value throws when it is read.
          lib.mapAttrs (_: one: one.valueOrEmpty) merged
        else
          lib.mapAttrs (_: one: one.mergedValue) (lib.filterAttrs (_: one: one.isDefined) merged);
      emptyValue.value = { };
      getSubOptions = prefix: element.getSubOptions (prefix ++ [ "<${placeholder}>" ]);
      inherit (element) getSubModules;
      substSubModules = modules: setOf lazy placeholder (element.substSubModules modules);
      functor = elementFunctor name (setOf lazy placeholder) element;
      nestedTypes.elemType = element;
    };
  attrsOf = setOf false "name";
  lazyAttrsOf = setOf true "name";

  nullOr =
    element:
    mkOptionType rec {
      name = "nullOr";
      description = "null or ${
        phrase [
          "noun"
          "conjunction"
        ] element
      }";
      descriptionClass = "conjunction";
      check = value: value == null || element.check value;
      merge =
        loc: definitions:
        let
          nulls = lib.count (definition: definition.value == null) definitions;
        in
        if nulls == lib.length definitions then
          null
        else if nulls != 0 then
          throw "The option `${lib.showOption loc}' is defined both null and not null, in ${
            lib.showFiles (map (definition: definition.file) definitions)
          }."
        else
          element.merge loc definitions;
      emptyValue.value = null;
      inherit (element) getSubOptions getSubModules;
      substSubModules = modules: nullOr (element.substSubModules modules);
      functor = elementFunctor name nullOr element;
      nestedTypes.elemType = element;
    };

  enum =
    values:
    let
      show =
        value:
        if lib.isString value then
          "\"${value}\""
        else if lib.isInt value then
          toString value
        else if lib.isBool value then
          lib.boolToString value
        else
          "<${lib.typeOf value}>";
    in
    mkOptionType rec {
      name = "enum";
      description =
        if values == [ ] then
          "impossible (empty enum)"
        else if lib.length values == 1 then
          "value ${show (lib.head values)} (singular enum)"
        else
          "one of ${lib.concatMapStringsSep ", " show values}";
      descriptionClass = if lib.length values < 2 then "noun" else "conjunction";
      check = value: lib.elem value values;
      merge = lib.options.mergeEqualOption;
      functor = {
        inherit name;
        type = { values }: enum values;
        wrapped = null;
        payload = { inherit values; };
        binOp = a: b: { values = lib.unique (a.values ++ b.values); };
      };
    };

  either =
    left: right:
    mkOptionType rec {
      name = "either";
      description = "${
        phrase [
          "noun"
          "conjunction"
        ] left
      } or ${
        phrase [
          "noun"
          "conjunction"
          "composite"
        ] right
      }";
      descriptionClass = "conjunction";
      check = value: left.check value || right.check value;
      merge =
        loc: definitions:
        let
          values = map (definition: definition.value) definitions;
        in
        if lib.all left.check values then
          left.merge loc definitions
        else if lib.all right.check values then
          right.merge loc definitions
        else
          lib.options.mergeOneOption loc definitions;
      functor = {
        inherit name;
        type = { elemType }: either (lib.head elemType) (lib.last elemType);
        wrapped = [
          left
          right
        ];
        payload.elemType = [
          left
          right
        ];
        binOp =
          a: b:
          let
            joined = lib.zipListsWith (x: y: x.typeMerge y.functor) a.elemType b.elemType;
          in
          if lib.elem null joined then null else { elemType = joined; };
      };
      nestedTypes = { inherit left right; };
    };
  oneOf =
    types:
    if types == [ ] then
      throw "types.oneOf needs at least one type in its argument"
    else
      lib.foldl' either (lib.head types) (lib.tail types);

  coercedTo =
    from: convert: to:
    assert lib.assertMsg (
      from.getSubModules == null
    ) "coercedTo: coercedType must not have submodules (it’s a ${from.description})";
    mkOptionType {
      name = "coercedTo";
      description = "${noun to} or ${noun from} convertible to it";
      check = value: (from.check value && to.check (convert value)) || to.check value;
      merge =
        loc: definitions:
        to.merge loc (
          map (d: d // { value = if from.check d.value then convert d.value else d.value; }) definitions
        );
      inherit (to) emptyValue getSubOptions getSubModules;
      substSubModules = modules: coercedTo from convert (to.substSubModules modules);
      typeMerge = _: null;
      nestedTypes = {
        coercedType = from;
        finalType = to;
      };
    };

  functionTo =
    element:
    mkOptionType rec {
      name = "functionTo";
      description = "function that evaluates to a(n) ${inner element}";
      descriptionClass = "composite";
      check = lib.isFunction;
      merge =
        loc: definitions:
        lib.setFunctionArgs (
          argument:
          (mergeDefinitions (loc ++ [ "<function body>" ]) element (
            map (d: {
              inherit (d) file;
              value = d.value argument;
            }) definitions
          )).mergedValue
        ) (lib.foldl' (args: d: args // lib.functionArgs d.value) { } definitions);
      getSubOptions = prefix: element.getSubOptions (prefix ++ [ "<function body>" ]);
      inherit (element) getSubModules;
      substSubModules = modules: functionTo (element.substSubModules modules);
      functor = elementFunctor name functionTo element;
      nestedTypes.elemType = element;
    };

  uniq = unique { message = ""; };
  unique =
    { message }:
    type:
    mkOptionType rec {
      name = "unique";
      inherit (type)
        description
        descriptionClass
        check
        emptyValue
        getSubOptions
        getSubModules
        ;
      merge = lib.options.mergeUniqueOption {
        inherit message;
        inherit (type) merge;
      };
      substSubModules = modules: unique { inherit message; } (type.substSubModules modules);
      functor = elementFunctor name (unique { inherit message; }) type;
      nestedTypes.elemType = type;
    };
  addCheck =
    type: check:
    type
    // {
      check = value: type.check value && check value;
    };

  # A set with exactly one of these attributes, each of which is an option.
  attrTag =
    tags:
    let
      names = lib.attrNames tags;
    in
    mkOptionType {
      name = "attrTag";
      description = "attribute-tagged union with choices: ${lib.concatStringsSep ", " names}";
      descriptionClass = "noun";
      check =
        value:
        lib.isAttrs value
        && lib.length (lib.attrNames value) == 1
        && tags ? ${lib.head (lib.attrNames value)};
      merge =
        loc: definitions:
        let
          chosen = lib.unique (lib.concatMap (definition: lib.attrNames definition.value) definitions);
          tag = lib.head chosen;
        in
        if lib.length chosen != 1 then
          throw "The option `${lib.showOption loc}' is defined with several tags (${toString chosen}), in ${
            lib.showFiles (map (definition: definition.file) definitions)
          }."
        else
          {
            ${tag} =
              (lib.modules.evalOption (loc ++ [ tag ]) (tags.${tag} // { declarations = [ "<attrTag>" ]; }) (
                map (d: d // { value = d.value.${tag}; }) definitions
              )).value;
          };
      getSubOptions =
        prefix:
        lib.mapAttrs (
          tag: option:
          option
          // {
            loc = prefix ++ [ tag ];
            declarations = [ ];
          }
        ) tags;
    };
}
