# What a type is. The fields are those of nixpkgs.
{ lib }:
rec {
  mkOptionType =
    {
      name,
      description ? name,
      descriptionClass ? null,
      check ? _: true,
      merge ? lib.options.mergeDefaultOption,
      emptyValue ? { },
      getSubOptions ? _: { },
      getSubModules ? null,
      substSubModules ? _: null,
      typeMerge ? mergeByFunctor functor,
      functor ? defaultFunctor name,
      deprecationMessage ? null,
      nestedTypes ? { },
    }:
    {
      _type = "option-type";
      inherit
        name
        descriptionClass
        check
        merge
        emptyValue
        getSubOptions
        getSubModules
        substSubModules
        typeMerge
        functor
        deprecationMessage
        nestedTypes
        ;
      description = if description == null then name else description;
    };

  # A functor makes the type from its payload, and joins two payloads (null if they differ too much).
  defaultFunctor = name: {
    inherit name;
    type = lib.types.${name} or null;
    wrapped = null;
    payload = null;
    binOp = _: _: null;
  };
  mergeByFunctor =
    own: other:
    let
      payload = own.binOp own.payload other.payload;
    in
    if own.name != other.name then
      null
    else if own.payload == null && other.payload == null then
      own.type
    else if payload == null then
      null
    else
      own.type payload;

  # A functor for a type made of one element type.
  elementFunctor = name: make: element: {
    inherit name;
    type = { elemType }: make elemType;
    wrapped = element;
    payload.elemType = element;
    binOp =
      a: b:
      let
        joined = a.elemType.typeMerge b.elemType.functor;
      in
      if joined == null then null else { elemType = joined; };
  };

  # A type's description within another one's, in brackets unless its class is one of `plain`.
  phrase =
    plain: type:
    if lib.elem (type.descriptionClass or null) plain then
      type.description
    else
      "(${type.description})";
  inner = phrase [
    "noun"
    "composite"
  ];
  noun = phrase [ "noun" ];

  optionType = mkOptionType {
    name = "optionType";
    description = "optionType";
    descriptionClass = "noun";
    check = lib.isType "option-type";
    merge =
      loc: definitions:
      let
        first = lib.head definitions;
        join =
          type: next:
          let
            joined = type.typeMerge next.value.functor;
          in
          if joined == null then
            throw "The option `${lib.showOption loc}' has conflicting option types in ${
              lib.showFiles (map (d: d.file) definitions)
            }."
          else
            joined;
      in
      lib.foldl' join first.value (lib.tail definitions);
  };
}
