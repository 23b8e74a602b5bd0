# Types whose values are modules.
{ lib }:
let
  inherit (lib.types) mkOptionType;
in
rec {
  submodule =
    module:
    submoduleWith {
      shorthandOnlyDefinesConfig = true;
      modules = lib.toList module;
    };

  submoduleWith =
    {
      modules,
      specialArgs ? { },
      shorthandOnlyDefinesConfig ? null,
      description ? null,
      class ? null,
    }@made:
    let
      # A definition becomes one more module. In the short form every attribute is configuration, also `config` and
      # `options`.
      asModule =
        { file, value, ... }:
        if lib.isAttrs value && shorthandOnlyDefinesConfig == true then
          {
            _file = file;
            config = value;
          }
        else
          {
            _file = file;
            imports = [ value ];
          };
      evaluate =
        loc: extra: name:
        lib.evalModules {
          inherit class specialArgs;
          prefix = loc;
          modules = [ { _module.args.name = lib.mkOptionDefault name; } ] ++ modules ++ extra;
        };
      freeform = (evaluate [ ] [ ] "‹name›")._module.freeformType;
    in
    mkOptionType {
      name = "submodule";
      description =
        if description != null then
          description
        else if freeform == null then
          "submodule"
        else
          "open submodule of ${lib.types.inner freeform}";
      check = value: lib.isAttrs value || lib.isFunction value || lib.isPath value;
      merge = loc: definitions: (evaluate loc (map asModule definitions) (lib.last loc)).config;
      emptyValue.value = { };
      getSubOptions =
        prefix:
        let
          documented = evaluate prefix [ ] "‹name›";
          open = documented._module.freeformType;
        in
        removeAttrs documented.options [ "_module" ]
        // lib.optionalAttrs (open != null) {
          # No option itself: it holds the options of the freeform type.
          _freeformOptions = open.getSubOptions prefix;
        };
      getSubModules = modules;
      substSubModules = replaced: submoduleWith (made // { modules = replaced; });
      nestedTypes = lib.optionalAttrs (freeform != null) { freeformType = freeform; };
      functor = {
        name = "submodule";
        type = submoduleWith;
        wrapped = null;
        payload = {
          inherit
            modules
            specialArgs
            shorthandOnlyDefinesConfig
            description
            class
            ;
        };
        binOp =
          a: b:
          let
            shared = lib.intersectAttrs a.specialArgs b.specialArgs;
          in
          if shared != { } then
            throw "A submodule option is declared multiple times with the same specialArgs \"${toString (lib.attrNames shared)}\""
          else if a.class != null && b.class != null && a.class != b.class then
            null
          else
            {
              modules = a.modules ++ b.modules;
              specialArgs = a.specialArgs // b.specialArgs;
              shorthandOnlyDefinesConfig =
                if a.shorthandOnlyDefinesConfig == null then
                  b.shorthandOnlyDefinesConfig
                else if b.shorthandOnlyDefinesConfig == null then
                  a.shorthandOnlyDefinesConfig
                else if a.shorthandOnlyDefinesConfig == b.shorthandOnlyDefinesConfig then
                  a.shorthandOnlyDefinesConfig
                else
                  throw "A submodule option is declared multiple times with conflicting shorthandOnlyDefinesConfig values";
              description = if a.description == null then b.description else a.description;
              class = if a.class == null then b.class else a.class;
            };
      };
    };

  # A module for later use. The value imports all definitions.
  deferredModule = deferredModuleWith { };
  deferredModuleWith =
    {
      staticModules ? [ ],
    }:
    mkOptionType {
      name = "deferredModule";
      description = "module";
      descriptionClass = "noun";
      check = value: lib.isAttrs value || lib.isFunction value || lib.isPath value;
      merge = loc: definitions: {
        imports =
          staticModules
          ++ map (
            definition:
            lib.setDefaultModuleLocation "${definition.file}, via option ${lib.showOption loc}" definition.value
          ) definitions;
      };
      getSubOptions = prefix: (submoduleWith { modules = staticModules; }).getSubOptions prefix;
      getSubModules = staticModules;
      substSubModules = modules: deferredModuleWith { staticModules = modules; };
      functor = {
        name = "deferredModule";
        type = deferredModuleWith;
        wrapped = null;
        payload = { inherit staticModules; };
        binOp = a: b: { staticModules = lib.unique (a.staticModules ++ b.staticModules); };
      };
    };
}
