# Modules as they are written → a flat list of { file; key; config; options; imports; disabled; freeform; }
{ lib }:
let
  fullKeys = [
    "_class"
    "_file"
    "config"
    "disabledModules"
    "freeformType"
    "imports"
    "key"
    "meta"
    "options"
  ];
  # In a module without `config` and `options`, every other attribute is configuration.
  shortKeys = [
    "_class"
    "_file"
    "disabledModules"
    "freeformType"
    "imports"
    "key"
    "require"
  ];

  # A function gets the arguments that it names, from the special arguments or else from `_module.args`.
  call =
    key: args: module:
    if !lib.isFunction module then
      module
    else
      module (
        lib.mapAttrs (
          name: _:
          lib.addErrorContext "while evaluating the module argument `${name}' in \"${key}\":" (
            args.given.${name} or args.fromConfig.${name}
          )
        ) (lib.functionArgs module)
        // args.given
      );

  checkClass =
    class: file: module:
    if class == null || !(module ? _class) || module._class == null || module._class == class then
      module
    else
      throw "The module `${module._file or file}` (class: ${lib.toJSON module._class}) cannot be imported into a module evaluation that expects class ${lib.toJSON class}.";

  structure =
    class: file: key: written:
    let
      module = checkClass class file written;
      own = {
        file = toString (module._file or file);
        key = toString (module.key or key);
        disabled = module.disabledModules or [ ];
        freeform = module.freeformType or null;
      };
      wrong = removeAttrs module fullKeys;
    in
    if !lib.isAttrs written then
      throw "Module `${key}' must be a set, a function or a path, but is ${
        lib.generators.toPretty { } written
      }."
    else if module ? config || module ? options then
      if wrong != { } then
        throw "Module `${key}' has an unsupported attribute `${lib.head (lib.attrNames wrong)}': beside `config' or `options' settings must be inside `config' (${toString (lib.attrNames wrong)})."
      else
        own
        // {
          imports = module.imports or [ ];
          options = module.options or { };
          config =
            if module ? meta then
              lib.mkMerge [
                (module.config or { })
                { inherit (module) meta; }
              ]
            else
              module.config or { };
        }
    else
      own
      // {
        imports = module.require or [ ] ++ module.imports or [ ];
        options = { };
        config = lib.throwIfNot (lib.isAttrs module) "module `${key}' does not look like a module." (
          removeAttrs module shortKeys
        );
      };

  wrapped = [
    "if"
    "merge"
    "override"
  ];

  load =
    { class, args }:
    file: fallback: module:
    if lib.isFunction module then
      structure class file fallback (call fallback args module)
    else if lib.isAttrs module then
      if lib.elem (module._type or "") wrapped then
        structure class file fallback { config = module; }
      else if module ? _type && module._type != "module" then
        throw "Expected a module, but found a value of type ${lib.strings.escapeNixString module._type}, while trying to load a module into ${
          if file == unknownFile then "the evaluation" else file
        }."
      else
        structure class file fallback module
    else if lib.isList module then
      # A list is a module without a name that imports its members.
      structure class file fallback { imports = module; }
    else
      let
        path = toString module;
      in
      structure class path path (call path args (import module));

  unknownFile = "<unknown-file>";
in
{
  inherit unknownFile;

  # Every module gets all of `args.given`, and of `args.fromConfig` the names that it asks for.
  collect =
    {
      modules,
      args,
      class,
      modulesPath,
    }:
    let
      loadOne = load { inherit class args; };
      loadAll = file: key: lib.imap1 (index: loadOne file "${key}:anon-${toString index}");
      node = module: {
        inherit (module) key;
        inherit module;
      };
      closure = lib.genericClosure {
        startSet = map node (loadAll unknownFile "" modules);
        operator = found: map node (loadAll found.module.file found.key found.module.imports);
      };
      all = map (found: found.module) closure;
      # What modules disable, by their keys.
      keyOf =
        entry:
        if lib.isString entry && lib.substring 0 1 entry != "/" then
          "${modulesPath}/${entry}"
        else if lib.isAttrs entry then
          entry.key or (throw "disabledModules: a module without a `key' cannot be disabled")
        else
          toString entry;
      disabled = lib.listToAttrs (
        map (entry: lib.nameValuePair (lib.unsafeDiscardStringContext (keyOf entry)) null) (
          lib.concatMap (module: module.disabled) all
        )
      );
      kept = lib.genericClosure {
        startSet = lib.filter enabled (map node (loadAll unknownFile "" modules));
        operator =
          found: lib.filter enabled (map node (loadAll found.module.file found.key found.module.imports));
      };
      enabled = found: !(disabled ? ${found.key});
    in
    if disabled == { } then all else map (found: found.module) kept;
}
