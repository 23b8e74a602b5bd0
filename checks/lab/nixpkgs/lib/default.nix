# The stand-in's `lib`, written for this project, with the names and the behaviour of nixpkgs' own. It has the functions
# that this project calls; any other is an error.
let
  boot = builtins;
  make =
    lib:
    let
      load = file: import file { inherit lib; };
      trivial = load ./trivial.nix;
      attrsets = load ./attrsets.nix;
      lists = load ./lists.nix;
      strings = load ./strings.nix;
      properties = load ./modules/properties.nix;
      messages = load ./modules/messages.nix;
      optionHelpers = load ./modules/options.nix;
      options = optionHelpers // messages;
      evaluation = load ./modules/evaluate.nix;
      modules =
        properties
        // load ./modules/collect.nix
        // load ./modules/definitions.nix
        // evaluation
        // load ./modules/helpers.nix
        // messages;
      sources = load ./sources.nix;
      meta = load ./meta.nix;
      systems = load ./systems.nix;
    in
    # Of two functions with one name, this is the one that nixpkgs has in `lib` itself; `lib.lists.hasPrefix` is the other.
    lists
    // attrsets
    // strings
    // trivial
    // sources
    // meta
    // {
      inherit
        attrsets
        lists
        strings
        trivial
        options
        modules
        sources
        meta
        systems
        ;
      inherit (lists) replicate;
      generators = load ./generators.nix;
      types = load ./types;
      path = load ./path.nix;
      licenses = load ./licenses.nix;
      customisation = { inherit (sources) makeOverridable callPackageWith; };
      maintainers = { };
      teams = { };
      platforms = systems.groups;
      inherit (boot) isPath;

      inherit (options)
        isOption
        isType
        mkOption
        mkEnableOption
        mkPackageOption
        literalExpression
        showOption
        showFiles
        getValues
        mergeDefaultOption
        mergeEqualOption
        mergeOneOption
        mergeUniqueOption
        optionAttrSetToDocList
        optionAttrSetToDocList'
        ;
      inherit (modules)
        evalModules
        mkIf
        mkMerge
        mkOverride
        mkOptionDefault
        mkDefault
        mkForce
        mkVMOverride
        mkOrder
        mkBefore
        mkAfter
        mkDerivedConfig
        mkAliasDefinitions
        mkAliasAndWrapDefinitions
        mkAliasAndWrapDefsWithPriority
        mkRenamedOptionModule
        mkAliasOptionModule
        mkRemovedOptionModule
        setDefaultModuleLocation
        doRename
        mergeDefinitions
        ;
      inherit (load ./types/core.nix) mkOptionType defaultFunctor;
    };
  extensible =
    function:
    let
      self = function self // {
        extend = overlay: extensible (final: function final // overlay final (function final));
      };
    in
    self;
in
extensible make
