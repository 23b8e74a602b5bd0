# The definitions of one option → its value.
{ lib }:
let
  inherit (lib.modules) showOption showDefs;
in
rec {
  # `definitions` is a list of { file; value }. In the result, `mergedValue` throws if there is no value or a wrong one;
  # `optionalValue` is { } or { value }.
  mergeDefinitions =
    loc: type: definitions:
    let
      opened = lib.concatMap (
        definition:
        let
          values = lib.addErrorContext "while evaluating definitions from `${definition.file}':" (
            lib.modules.discharge definition.value
          );
        in
        map (value: definition // { inherit value; }) values
      ) definitions;
      strongest = lib.modules.strongest opened;
      kept = strongest.definitions;
      wrong = lib.filter (definition: !type.check definition.value) kept;
      value =
        if wrong != [ ] then
          throw "A definition for option `${showOption loc}' is not of type `${type.description}'. Definition values:${showDefs wrong}"
        else
          type.merge loc kept;
    in
    rec {
      defsFinal = kept;
      defsFinal' = {
        values = kept;
        highestPrio = strongest.priority;
      };
      isDefined = kept != [ ];
      mergedValue =
        if isDefined then
          value
        else
          throw "The option `${showOption loc}' was accessed but has no value defined: it is used but not defined. Try setting the option.";
      valueOrEmpty = optionalValue.value or type.emptyValue.value or mergedValue;
      optionalValue = if isDefined then { value = mergedValue; } else { };
    };

  # One declared option (fields as in mkOption, `declarations`) and its definitions → the option as `options` has it.
  evalOption =
    loc: option: definitions:
    let
      named = showOption loc;
      all =
        lib.optional (option ? default) {
          file = lib.head option.declarations;
          value = lib.mkOptionDefault option.default;
        }
        ++ definitions;
      merged =
        if option.readOnly or false && lib.length all > 1 then
          throw "The option `${named}' is read-only, but it's set multiple times. Definition values:${showDefs (map unwrapped all)}"
        else
          mergeDefinitions loc option.type all;
      unwrapped =
        definition:
        definition
        // {
          value = definition.value.content or definition.value;
        };
      applied = if option ? apply then option.apply merged.mergedValue else merged.mergedValue;
      value =
        if option.type.deprecationMessage or null != null && merged.isDefined then
          lib.warn "The type `types.${option.type.name}' of option `${named}' is deprecated: ${option.type.deprecationMessage}" applied
        else
          applied;
    in
    option
    // {
      value = lib.addErrorContext "while evaluating the option `${named}':" value;
      inherit loc;
      inherit (merged.defsFinal') highestPrio;
      inherit (merged) isDefined;
      files = map (definition: definition.file) merged.defsFinal;
      definitions = map (definition: definition.value) merged.defsFinal;
      definitionsWithLocations = map (definition: { inherit (definition) file value; }) merged.defsFinal;
      options = option.options or [ ];
      __toString = _: named;
    };

  # Several declarations ({ file; option }) of one option → one.
  mergeDeclarations =
    loc: declarations:
    let
      once = [
        "apply"
        "default"
        "description"
        "example"
      ];
      join =
        merged:
        { file, option }:
        let
          twice = lib.filter (field: merged ? ${field} && option ? ${field}) once;
          haveTypes = merged ? type && option ? type;
          joined = merged.type.typeMerge option.type.functor;
          clash = throw "The option `${showOption loc}' in `${file}' is already declared in ${lib.showFiles merged.declarations}${
            lib.optionalString (twice != [ ]) " (both set ${toString twice})"
          }.";
        in
        if twice != [ ] then
          clash
        else
          merged
          // option
          // {
            declarations = merged.declarations ++ [ file ];
            declarationPositions = merged.declarationPositions ++ positions option file;
          }
          // lib.optionalAttrs (haveTypes) { type = if joined == null then clash else joined; };
      positions =
        option: file:
        lib.optional (option ? declarationPosition) option.declarationPosition
        ++ lib.optional (!(option ? declarationPosition)) {
          inherit file;
          line = null;
          column = null;
        };
      merged = lib.foldl' join {
        _type = "option";
        declarations = [ ];
        declarationPositions = [ ];
      } declarations;
    in
    { type = lib.types.unspecified; } // merged;

  # Makes options below an option into a submodule: one module declares `options.a`, another `options.a.b`.
  treeAsOption =
    { file, option }:
    if lib.isOption option then
      { inherit file option; }
    else
      {
        inherit file;
        option = lib.mkOption {
          type = lib.types.submoduleWith {
            modules = [
              {
                _file = file;
                options = option;
              }
            ];
          };
        };
      };
}
