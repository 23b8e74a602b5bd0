# evalModules: a list of modules → their options and the configuration.
{ lib }:
let
  inherit (lib.modules)
    showOption
    showDefs
    spread
    evalOption
    mergeDeclarations
    treeAsOption
    ;

  # One level of the tree of options. `declared` is a list of { file; options; }, `defined` of { file; value; }.
  level =
    path: declared: defined:
    let
      declarations = lib.zipAttrsWith (_: all: all) (
        map (
          one:
          lib.mapAttrs (_: option: {
            inherit (one) file;
            inherit option;
          }) one.options
        ) declared
      );
      definitions = lib.zipAttrsWith (_: all: all) (
        lib.concatMap (
          one:
          map (
            value:
            if lib.isAttrs value then
              lib.mapAttrs (_: inner: {
                inherit (one) file;
                value = inner;
              }) value
            else
              throw "`${one.file}' sets ${
                if path == [ ] then "the configuration" else "the option `${showOption path}'"
              } to a value of type `${lib.typeOf value}' rather than an attribute set: there are options below it, and it is not itself one."
          ) (spread one.value)
        ) defined
      );
      nodes = lib.mapAttrs (
        name: all: node (path ++ [ name ]) all (definitions.${name} or [ ])
      ) declarations;
      strayNames = lib.attrNames (removeAttrs definitions (lib.attrNames declarations));
    in
    {
      config = lib.mapAttrs (_: inner: inner.config) nodes;
      options = lib.mapAttrs (_: inner: inner.options) nodes;
      # Definitions without an option, each with the names of the options beside it.
      unmatched =
        map (name: {
          path = path ++ [ name ];
          siblings = lib.attrNames declarations;
          definitions = definitions.${name};
        }) strayNames
        ++ lib.concatMap (name: nodes.${name}.unmatched) (lib.attrNames nodes);
    };

  node =
    loc: declarations: definitions:
    let
      isLeaf = declaration: lib.isOption declaration.option;
      leaves = lib.filter isLeaf declarations;
      sets = map (declaration: {
        inherit (declaration) file;
        options =
          if lib.isAttrs declaration.option && !(declaration.option ? _type) then
            declaration.option
          else
            throw "`${declaration.file}' declares `${showOption loc}' as a ${
              declaration.option._type or (lib.typeOf declaration.option)
            }; an option or a set of options was expected (mkOption is missing?).";
      }) declarations;
      leaf = declared: rec {
        options = evalOption loc (mergeDeclarations loc declared) definitions;
        config = options.value;
        unmatched = [ ];
      };
      takesOptions = declaration: declaration.option.type.getSubModules or null != null;
      blocked = lib.filter (declaration: !takesOptions declaration) leaves;
    in
    if leaves == [ ] then
      level loc sets definitions
    else if lib.length leaves == lib.length declarations then
      leaf declarations
    else if blocked == [ ] then
      leaf (map treeAsOption declarations)
    else
      throw "The option `${showOption loc}' in `${(lib.head blocked).file}' would be a parent of options declared in ${
        lib.showFiles (map (declaration: declaration.file) (lib.filter (d: !isLeaf d) declarations))
      }, but its type `${
        (lib.head blocked).option.type.description or "unspecified"
      }' does not support nested options.";

  # Options that every evaluation has, `_module.*`.
  internal = {
    file = "lib/modules.nix";
    key = "lib/modules.nix";
    disabled = [ ];
    freeform = null;
    imports = [ ];
    options._module = {
      args = lib.mkOption {
        type = lib.types.lazyAttrsOf lib.types.raw;
        internal = true;
        description = "Additional arguments passed to each module.";
      };
      check = lib.mkOption {
        type = lib.types.bool;
        internal = true;
        default = true;
        description = "Whether definitions of options that do not exist are errors.";
      };
      freeformType = lib.mkOption {
        type = lib.types.nullOr lib.types.optionType;
        internal = true;
        default = null;
        description = "The type that takes definitions for which there is no option.";
      };
      specialArgs = lib.mkOption {
        readOnly = true;
        internal = true;
        description = "Arguments that were there before the modules were read.";
      };
    };
    config = { };
  };

  evalModules =
    {
      modules,
      prefix ? [ ],
      specialArgs ? { },
      class ? null,
      # The older form of `_module.args` and `_module.check`.
      args ? { },
      check ? true,
    }@given:
    let
      collected = lib.modules.collect {
        inherit modules class;
        modulesPath = toString (specialArgs.modulesPath or "");
        args = {
          given = {
            inherit lib;
            config = whole;
            inherit options;
            _class = class;
            _prefix = prefix;
          }
          // specialArgs;
          fromConfig = whole._module.args;
        };
      };
      settled = internal // {
        config._module = {
          args = {
            inherit extendModules;
            moduleType = type;
          }
          // args;
          inherit specialArgs;
        }
        // lib.optionalAttrs (!check) { check = false; };
      };
      # The last module comes first, as in nixpkgs. The order of merged lists shows it.
      ordered = lib.reverseList (collected ++ [ settled ]);
      freeforms = lib.concatMap (
        module:
        lib.optional (module.freeform != null) {
          inherit (module) file;
          value._module.freeformType = module.freeform;
        }
      ) ordered;
      root =
        level prefix
          (map (module: {
            inherit (module) file options;
          }) ordered)
          (
            map (module: {
              inherit (module) file;
              value = module.config;
            }) ordered
            ++ freeforms
          );
      inherit (root) options;
      freeformType = root.config._module.freeformType;
      free = lib.modules.mergeDefinitions prefix freeformType (
        lib.concatMap (
          stray:
          map (definition: {
            inherit (definition) file;
            value = lib.setAttrByPath (lib.drop (lib.length prefix) stray.path) definition.value;
          }) stray.definitions
        ) root.unmatched
      );
      whole =
        if freeformType == null || root.unmatched == [ ] then
          root.config
        else
          lib.recursiveUpdate free.mergedValue root.config;
      checked =
        if whole._module.check && freeformType == null && root.unmatched != [ ] then
          throw (unmatchedMessage (lib.head root.unmatched))
        else
          true;
      unmatchedMessage =
        stray:
        let
          base = "The option `${showOption stray.path}' does not exist. Definition values:${showDefs stray.definitions}";
          hint =
            if stray.siblings == [ ] || stray.siblings == [ "_module" ] then
              "\n\nNo options are declared at `${showOption (lib.init stray.path)}'."
            else
              lib.modules.nearNames (lib.last stray.path) stray.siblings;
        in
        base + lib.optionalString (hint != "") "\n\n${hint}";
      extendModules =
        {
          modules ? [ ],
          specialArgs ? { },
          prefix ? given.prefix or [ ],
        }:
        evalModules (
          given
          // {
            modules = given.modules ++ modules;
            specialArgs = given.specialArgs or { } // specialArgs;
            inherit prefix;
          }
        );
      type = lib.types.submoduleWith {
        inherit modules specialArgs class;
      };
    in
    {
      _type = "configuration";
      inherit
        options
        extendModules
        type
        class
        ;
      config = lib.seq checked (removeAttrs whole [ "_module" ]);
      _module = lib.seq checked whole._module;
    };
in
{
  inherit evalModules;
}
