# Modules, imports, priorities, conditions and order.
{
  lib,
  evaluate,
  configOf,
}:
let
  inherit (lib) mkOption types;
  int = mkOption { type = types.int; };
  list = mkOption { type = types.listOf types.str; };
  a = {
    options.a = int;
  };
  l = {
    options.l = list;
  };
  file = name: module: {
    _file = name;
    imports = [ module ];
  };
in
{
  values = {
    default = {
      want = 1;
      got =
        (configOf [
          {
            options.a = mkOption {
              type = types.int;
              default = 1;
            };
          }
        ]).a;
    };
    definitionOverDefault = {
      want = 2;
      got =
        (configOf [
          {
            options.a = mkOption {
              type = types.int;
              default = 1;
            };
          }
          { a = 2; }
        ]).a;
    };
    forceOverPlain = {
      want = 3;
      got =
        (configOf [
          a
          { a = 2; }
          { a = lib.mkForce 3; }
          { a = lib.mkDefault 4; }
        ]).a;
    };
    vmOverrideOverForce = {
      want = 5;
      got =
        (configOf [
          a
          { a = lib.mkVMOverride 5; }
          { a = lib.mkForce 3; }
        ]).a;
    };
    optionDefault = {
      want = 7;
      got =
        (configOf [
          a
          { a = lib.mkOptionDefault 6; }
          { a = lib.mkDefault 7; }
        ]).a;
    };
    conditions = {
      want = 1;
      got =
        (configOf [
          a
          { a = lib.mkIf false 2; }
          { a = lib.mkIf true 1; }
        ]).a;
    };
    conditionOverSet = {
      want = {
        a = 1;
        b = 2;
      };
      got = configOf [
        a
        { options.b = int; }
        {
          config = lib.mkIf true {
            a = 1;
            b = lib.mkMerge [
              (lib.mkIf false 3)
              (lib.mkDefault 2)
            ];
          };
        }
      ];
    };
    conditionOnItself = {
      want = 2;
      got =
        (configOf [
          {
            options.a.enable = mkOption {
              type = types.bool;
              default = false;
            };
            options.a.value = int;
            options.b = mkOption {
              type = types.int;
              default = 0;
            };
          }
          ({ config, ... }: { config = lib.mkIf config.a.enable { a.value = 2; }; })
          { a.enable = true; }
        ]).a.value;
    };
    forceOverSet = {
      want = {
        a = 1;
        b = 9;
      };
      got = configOf [
        a
        { options.b = int; }
        (lib.mkForce { a = 1; })
        {
          a = 4;
          b = 9;
        }
      ];
    };
    mergeAsModule = {
      want = 1;
      got =
        (configOf [
          a
          {
            config = lib.mkMerge [
              { a = 1; }
              (lib.mkIf false { a = 2; })
            ];
          }
        ]).a;
    };
    listOrder = {
      want = [
        "2"
        "1"
      ];
      got =
        (configOf [
          l
          { l = [ "1" ]; }
          { l = [ "2" ]; }
        ]).l;
    };
    listOrderOfImports = {
      want = [
        "leaf"
        "branch"
        "root"
      ];
      got =
        (configOf [
          l
          {
            imports = [
              {
                imports = [ { l = [ "leaf" ]; } ];
                l = [ "branch" ];
              }
            ];
            l = [ "root" ];
          }
        ]).l;
    };
    beforeAndAfter = {
      want = [
        "first"
        "early"
        "2"
        "1"
        "late"
      ];
      got =
        (configOf [
          l
          { l = lib.mkAfter [ "late" ]; }
          { l = [ "1" ]; }
          { l = lib.mkBefore [ "early" ]; }
          { l = [ "2" ]; }
          { l = lib.mkOrder 1 [ "first" ]; }
        ]).l;
    };
    forceAndOrder = {
      want = [
        "b"
        "a"
      ];
      got =
        (configOf [
          l
          { l = lib.mkForce (lib.mkAfter [ "a" ]); }
          { l = lib.mkForce [ "b" ]; }
          { l = [ "c" ]; }
        ]).l;
    };
    functionArguments = {
      want = "x-y-z";
      got =
        (lib.evalModules {
          specialArgs.x = "x";
          modules = [
            (
              {
                x,
                y,
                z,
                config,
                ...
              }:
              {
                options.s = mkOption { type = types.str; };
                config.s = "${x}-${y}-${z}";
              }
            )
            { _module.args.y = "y"; }
            ({ y, ... }: { _module.args.z = "z"; })
          ];
        }).config.s;
    };
    importedTwiceIsOnce = {
      want = [ "once" ];
      got =
        let
          module = {
            key = "one";
            l = [ "once" ];
          };
        in
        (configOf [
          l
          { imports = [ module ]; }
          { imports = [ module ]; }
        ]).l;
    };
    disabledModule = {
      want = [ "kept" ];
      got =
        (configOf [
          l
          {
            key = "unwanted";
            l = [ "unwanted" ];
          }
          {
            l = [ "kept" ];
            disabledModules = [ { key = "unwanted"; } ];
          }
        ]).l;
    };
    files = {
      want = [
        "f2"
        "f1"
      ];
      got =
        (evaluate [
          a
          (file "f1" { a = 1; })
          (file "f2" { a = 1; })
        ]).options.a.files;
    };
    declarations = {
      want = [ "here" ];
      got =
        (evaluate [
          (file "here" a)
          { a = 1; }
        ]).options.a.declarations;
    };
    isDefined = {
      want = [
        false
        true
      ];
      got =
        let
          o =
            (evaluate [
              a
              { options.b = int; }
              { b = 1; }
            ]).options;
        in
        [
          o.a.isDefined
          o.b.isDefined
        ];
    };
    highestPrio = {
      want = 1000;
      got =
        (evaluate [
          a
          { a = lib.mkDefault 1; }
        ]).options.a.highestPrio;
    };
    definitionsWithLocations = {
      want = [
        {
          file = "f";
          value = 3;
        }
      ];
      got =
        (evaluate [
          a
          (file "f" { a = 3; })
        ]).options.a.definitionsWithLocations;
    };
    apply = {
      want = 4;
      got =
        (configOf [
          {
            options.a = mkOption {
              type = types.int;
              apply = x: x * 2;
            };
          }
          { a = 2; }
        ]).a;
    };
    checkOff = {
      want = {
        a = 1;
      };
      got = configOf [
        a
        {
          a = 1;
          nothing.there = 2;
          _module.check = false;
        }
      ];
    };
    freeform = {
      want = {
        a = 1;
        free = {
          x = "y";
        };
      };
      got = configOf [
        a
        {
          freeformType = types.attrsOf types.anything;
          a = 1;
          free.x = "y";
        }
      ];
    };
    freeformMerges = {
      want = {
        a = 1;
        free = {
          x = 1;
          y = 2;
        };
      };
      got = configOf [
        a
        {
          freeformType = (types.attrsOf types.anything);
          a = 1;
          free.x = 1;
        }
        { free.y = 2; }
      ];
    };
    freeformBesideNested = {
      want = {
        n = {
          a = 1;
          b = "free";
        };
      };
      got = configOf [
        {
          freeformType = types.attrsOf types.anything;
          options.n.a = int;
        }
        {
          n.a = 1;
          n.b = "free";
        }
      ];
    };
    extendModules = {
      want = 2;
      got =
        (
          (evaluate [
            a
            { a = lib.mkDefault 1; }
          ]).extendModules
          { modules = [ { a = 2; } ]; }
        ).config.a;
    };
    aliasOption = {
      want = {
        new = 3;
        old = 3;
      };
      got =
        let
          c = configOf [
            (lib.mkAliasOptionModule [ "old" ] [ "new" ])
            { options.new = int; }
            { old = 3; }
          ];
        in
        {
          inherit (c) new old;
        };
    };
    renamedOption = {
      want = 3;
      got =
        (configOf [
          (lib.mkRenamedOptionModule [ "old" "name" ] [ "new" ])
          {
            options.new = int;
            options.warnings = mkOption { type = types.listOf types.str; };
          }
          { old.name = 3; }
        ]).new;
    };
    renamedOptionWarns = {
      want = 1;
      got =
        lib.length
          (configOf [
            (lib.mkRenamedOptionModule [ "old" ] [ "new" ])
            {
              options.new = int;
              options.warnings = mkOption { type = types.listOf types.str; };
            }
            { old = 3; }
          ]).warnings;
    };
    aliasDefinitions = {
      want = 3;
      got =
        (configOf [
          { options.x = int; }
          a
          ({ options, ... }: { x = lib.mkAliasDefinitions options.a; })
          { a = 3; }
        ]).x;
    };
    twoDeclarationsOfSubmodules = {
      want = {
        s = {
          a = 1;
          b = 2;
        };
      };
      got = configOf [
        { options.s = mkOption { type = types.submodule { options.a = int; }; }; }
        {
          options.s = mkOption {
            type = types.submodule (
              { config, ... }: {
                options.b = int;
                config.b = config.a + 1;
              }
            );
          };
        }
        { s.a = 1; }
      ];
    };
    nestedDeclarationInSubmodule = {
      want = {
        s = {
          a = 1;
          n = {
            b = 2;
          };
        };
      };
      got = configOf [
        {
          options.s = mkOption {
            type = types.submodule { options.a = int; };
            default = { };
          };
        }
        { options.s.n.b = int; }
        {
          s.a = 1;
          s.n.b = 2;
        }
      ];
    };
    twoDeclarationsOfEnums = {
      want = "b";
      got =
        (configOf [
          { options.e = mkOption { type = types.enum [ "a" ]; }; }
          { options.e = mkOption { type = types.enum [ "b" ]; }; }
          { e = "b"; }
        ]).e;
    };
    twoDeclarationsOfAttrsOfSubmodules = {
      want = {
        s.x = {
          a = 1;
          b = 2;
        };
      };
      got = configOf [
        { options.s = mkOption { type = types.attrsOf (types.submodule { options.a = int; }); }; }
        { options.s = mkOption { type = types.attrsOf (types.submodule { options.b = int; }); }; }
        { s.x.a = 1; }
        { s.x.b = 2; }
      ];
    };
    optionValueByPath = {
      want = 2;
      got =
        (evaluate [
          { options.n.a = int; }
          { n.a = 2; }
        ]).options.n.a.value;
    };
    showOption = {
      want = "a.\"b c\".<name>.*.d";
      got = lib.showOption [
        "a"
        "b c"
        "<name>"
        "*"
        "d"
      ];
    };
    moduleClass = {
      want = 1;
      got =
        (lib.evalModules {
          class = "nixos";
          modules = [
            {
              _class = "nixos";
              imports = [ a ];
              a = 1;
            }
          ];
        }).config.a;
    };
    prefix = {
      want = [
        "x"
        "a"
      ];
      got =
        (lib.evalModules {
          prefix = [ "x" ];
          modules = [ a ];
        }).options.a.loc;
    };
  };

  errors = {
    unknownOption = {
      message = "The option `b' does not exist\\. Definition values:.*- In `f': 2";
      got =
        (configOf [
          a
          (file "f" { b = 2; })
        ]).a;
    };
    unknownNestedOption = {
      message = "The option `n\\.b\\.c' does not exist|The option `n\\.b' does not exist";
      got =
        (configOf [
          { options.n.a = int; }
          (file "f" { n.b.c = 2; })
        ]).n;
    };
    unknownUnderFalseCondition = {
      message = "The option `b' does not exist";
      got =
        (configOf [
          a
          { config = lib.mkIf false { b = 2; }; }
          { a = 1; }
        ]).a;
    };
    wrongType = {
      message = "A definition for option `a' is not of type `signed integer'\\. Definition values:.*- In `f': \"x\"";
      got =
        (configOf [
          a
          (file "f" { a = "x"; })
        ]).a;
    };
    noValue = {
      message = "The option `a' .*(used but not defined|no value defined)";
      got = (configOf [ a ]).a;
    };
    conflict = {
      message = "The option `a' has conflicting definition values:.*- In `f2': 2.*- In `f1': 1.*mkForce";
      got =
        (configOf [
          a
          (file "f1" { a = 1; })
          (file "f2" { a = 2; })
        ]).a;
    };
    readOnly = {
      message = "The option `a' is read-only, but it's set multiple times\\. Definition values:.*`f'";
      got =
        (configOf [
          {
            options.a = mkOption {
              type = types.int;
              default = 1;
              readOnly = true;
            };
          }
          (file "f" { a = 2; })
        ]).a;
    };
    declaredTwice = {
      message = "The option `a' in `f2' is already declared in `f1'";
      got =
        (configOf [
          (file "f2" { options.a = mkOption { default = 1; }; })
          (file "f1" { options.a = mkOption { default = 2; }; })
        ]).a;
    };
    typesDoNotMerge = {
      message = "The option `a' in `f2' is already declared in `f1'";
      got =
        (configOf [
          (file "f2" { options.a = mkOption { type = types.int; }; })
          (file "f1" { options.a = mkOption { type = types.str; }; })
          { a = 1; }
        ]).a;
    };
    optionUnderOption = {
      message = "The option `a' in .*would be a parent of.*options.*does not support nested options";
      got =
        (configOf [
          a
          { options.a.b = int; }
          { a = 1; }
        ]).a;
    };
    setWhereOptionsAre = {
      message = "a value of type `int' rather than an attribute set|rather than an attribute set";
      got =
        (configOf [
          { options.n.a = int; }
          { n = 3; }
        ]).n.a;
    };
    strayBesideConfig = {
      message = "unsupported attribute `x'";
      got =
        (configOf [
          a
          {
            config.a = 1;
            x = 2;
          }
        ]).a;
    };
    conditionNoBool = {
      message = "mkIf.* (called with|was called with)";
      got =
        (configOf [
          a
          { a = lib.mkIf "yes" 1; }
        ]).a;
    };
    missingArgument = {
      message = "attribute 'nowhere' missing";
      got =
        (configOf [
          a
          ({ nowhere, ... }: { a = nowhere; })
        ]).a;
    };
    removedOption = {
      message = "The option `old' can no longer be used since it's been removed\\. Use new\\.";
      got =
        (configOf [
          (lib.mkRemovedOptionModule [ "old" ] "Use new.")
          { options.assertions = mkOption { type = types.listOf types.unspecified; }; }
        ]).old;
    };
    wrongClass = {
      message = "class.*darwin.*cannot be imported into a module evaluation that expects class.*nixos|imported into nixos instead of darwin";
      got =
        (lib.evalModules {
          class = "nixos";
          modules = [ { _class = "darwin"; } ];
        }).config;
    };
    wrongTypeInSubmoduleNamesWholePath = {
      message = "A definition for option `s\\.x\\.a' is not of type `signed integer'.*`f'";
      got =
        (configOf [
          { options.s = mkOption { type = types.attrsOf (types.submodule { options.a = int; }); }; }
          (file "f" { s.x.a = "no"; })
        ]).s.x.a;
    };
    unknownInSubmoduleNamesWholePath = {
      message = "The option `s\\.x\\.b' does not exist.*`f': 1";
      got =
        (configOf [
          { options.s = mkOption { type = types.attrsOf (types.submodule { options.a = int; }); }; }
          (file "f" { s.x.b = 1; })
        ]).s.x.b;
    };
  };
}
