# Types: what they accept, how they merge, what they are called, what they say when a value is wrong.
{
  lib,
  evaluate,
  configOf,
}:
let
  inherit (lib) mkOption types;
  # One option of the type, and its definitions.
  value =
    type: definitions:
    (configOf ([ { options.o = mkOption { inherit type; }; } ] ++ map (o: { inherit o; }) definitions))
    .o;
  accepts =
    type: candidates:
    map (
      candidate: (builtins.tryEval (builtins.deepSeq (value type [ candidate ]) true)).success
    ) candidates;
  ok = want: got: { inherit want got; };
  wrong = message: got: { inherit message got; };
  sub = types.submodule {
    options.a = mkOption {
      type = types.int;
      default = 1;
    };
    options.b = mkOption { type = types.str; };
  };
  named = types.submodule (
    { name, ... }:
    {
      options.n = mkOption {
        type = types.str;
        default = name;
      };
    }
  );
  descriptions = lib.mapAttrs (_: type: type.description);
in
{
  values = {
    bool = ok [ true true false false ] (
      accepts types.bool [
        true
        false
        1
        "true"
      ]
    );
    int = ok [ true false false ] (
      accepts types.int [
        1
        1.5
        "1"
      ]
    );
    positive = ok [ true false false ] (
      accepts types.ints.positive [
        1
        0
        (-1)
      ]
    );
    unsigned = ok [ true true false ] (
      accepts types.ints.unsigned [
        1
        0
        (-1)
      ]
    );
    between = ok [ false true true false ] (
      accepts (types.ints.between 2 4) [
        1
        2
        4
        5
      ]
    );
    u8 = ok [ true true false ] (
      accepts types.ints.u8 [
        0
        255
        256
      ]
    );
    u16 = ok [ true false ] (
      accepts types.ints.u16 [
        65535
        65536
      ]
    );
    u32 = ok [ true false ] (
      accepts types.ints.u32 [
        4294967295
        4294967296
      ]
    );
    float = ok [ true false ] (
      accepts types.float [
        1.5
        1
      ]
    );
    number = ok [ true true false ] (
      accepts types.number [
        1.5
        1
        "1"
      ]
    );
    str = ok [ true true false ] (
      accepts types.str [
        "x"
        ""
        1
      ]
    );
    nonEmptyStr = ok [ true false false ] (
      accepts types.nonEmptyStr [
        "x"
        ""
        " \n"
      ]
    );
    strMatching = ok [ true false ] (
      accepts (types.strMatching "[a-z]+") [
        "abc"
        "a1"
      ]
    );
    singleLineStr = ok "x" (value types.singleLineStr [ "x\n" ]);
    lines = ok "b\na" (
      value types.lines [
        "a"
        "b"
      ]
    );
    commas = ok "b,a" (
      value types.commas [
        "a"
        "b"
      ]
    );
    separated = ok "b;a" (
      value (types.separatedString ";") [
        "a"
        "b"
      ]
    );
    envVar = ok "b:a" (
      value types.envVar [
        "a"
        "b"
      ]
    );
    path = ok [ true false false ] (
      accepts types.path [
        "/x"
        "x"
        1
      ]
    );
    pathInStore = ok [ true false ] (
      accepts types.pathInStore [
        "${builtins.storeDir}/0sdk1r4l43yw4g6lmqdhd92vhdfhlwz4-x"
        "/x"
      ]
    );
    packageWants = ok [ false false ] (
      accepts types.package [
        "x"
        1
      ]
    );
    raw = ok { a = 1; } (value types.raw [ { a = 1; } ]);
    attrs =
      ok
        {
          a = 1;
          b = 2;
        }
        (
          value types.attrs [
            { a = 1; }
            { b = 2; }
          ]
        );
    attrsOf =
      ok
        {
          a = 1;
          b = 2;
        }
        (
          value (types.attrsOf types.int) [
            { a = 1; }
            { b = 2; }
          ]
        );
    attrsOfDropsFalse = ok { b = 2; } (
      value (types.attrsOf types.int) [
        {
          a = lib.mkIf false 1;
          b = 2;
        }
      ]
    );
    attrsOfPriorities = ok { a = 2; } (
      value (types.attrsOf types.int) [
        { a = lib.mkDefault 1; }
        { a = 2; }
      ]
    );
    lazyAttrsOfKeepsNames = ok [ "a" "b" ] (
      lib.attrNames (
        value (types.lazyAttrsOf types.int) [
          {
            a = lib.mkIf false 1;
            b = 2;
          }
        ]
      )
    );
    attrsOfListMerges =
      ok
        {
          a = [
            2
            1
          ];
        }
        (
          value (types.attrsOf (types.listOf types.int)) [
            { a = [ 1 ]; }
            { a = [ 2 ]; }
          ]
        );
    listOf = ok [ 2 1 ] (
      value (types.listOf types.int) [
        [ 1 ]
        [ 2 ]
      ]
    );
    listOfConditions = ok [ 2 ] (
      value (types.listOf types.int) [
        [
          (lib.mkIf false 1)
          2
        ]
      ]
    );
    nonEmptyListOf = ok [ true false ] (
      accepts (types.nonEmptyListOf types.int) [
        [ 1 ]
        [ ]
      ]
    );
    nullOr =
      ok
        [ null 1 ]
        [
          (value (types.nullOr types.int) [ null ])
          (value (types.nullOr types.int) [ 1 ])
        ];
    enum = ok [ true true false ] (
      accepts
        (types.enum [
          "a"
          1
        ])
        [
          "a"
          1
          "b"
        ]
    );
    either = ok [ true true false ] (
      accepts (types.either types.int types.str) [
        1
        "a"
        true
      ]
    );
    oneOf = ok [ true true true false ] (
      accepts
        (types.oneOf [
          types.int
          types.str
          types.bool
        ])
        [
          1
          "a"
          true
          [ ]
        ]
    );
    eitherMerges = ok [ "b" "a" ] (
      value (types.either types.int (types.listOf types.str)) [
        [ "a" ]
        [ "b" ]
      ]
    );
    coercedTo =
      ok
        [
          [ "a" ]
          [ "b" ]
        ]
        [
          (value (types.coercedTo types.str lib.singleton (types.listOf types.str)) [ "a" ])
          (value (types.coercedTo types.str lib.singleton (types.listOf types.str)) [ [ "b" ] ])
        ];
    coercedToMerges = ok [ "b" "a" ] (
      value (types.coercedTo types.str lib.singleton (types.listOf types.str)) [
        "a"
        [ "b" ]
      ]
    );
    addCheck = ok [ true false ] (
      accepts (types.addCheck types.int (x: x > 5)) [
        6
        5
      ]
    );
    uniq = ok 1 (value (types.uniq types.int) [ 1 ]);
    uniqWithPriority = ok 2 (
      value (types.uniq types.int) [
        (lib.mkDefault 1)
        2
      ]
    );
    unspecifiedMerges =
      ok
        {
          a = 1;
          b = 2;
        }
        (
          value types.unspecified [
            { a = 1; }
            { b = 2; }
          ]
        );
    functionTo = ok [ "b" "a" ] (
      (value (types.functionTo (types.listOf types.str)) [
        (x: [ x ])
        (_: [ "b" ])
      ])
        "a"
    );
    anythingDeep =
      ok
        {
          a = {
            b = 1;
            c = 2;
          };
        }
        (
          value types.anything [
            { a.b = 1; }
            { a.c = 2; }
          ]
        );
    anythingEqual = ok "x" (
      value types.anything [
        "x"
        "x"
      ]
    );
    anythingPriorities = ok { a = 2; } (
      value types.anything [
        { a = lib.mkDefault 1; }
        { a = 2; }
      ]
    );
    anythingList = ok [ 1 2 ] (
      value types.anything [
        [
          1
          2
        ]
      ]
    );
    submodule = ok {
      a = 1;
      b = "x";
    } (value sub [ { b = "x"; } ]);
    submoduleMerges =
      ok
        {
          a = 3;
          b = "x";
        }
        (
          value sub [
            { b = "x"; }
            { a = 3; }
          ]
        );
    submoduleFunction =
      ok
        {
          a = 7;
          b = "7";
        }
        (
          value sub [
            ({ config, ... }: {
              a = 7;
              b = toString config.a;
            })
          ]
        );
    submoduleName =
      ok
        {
          x.n = "x";
          y.n = "z";
        }
        (
          value (types.attrsOf named) [
            {
              x = { };
              y.n = "z";
            }
          ]
        );
    submoduleInList =
      ok
        [
          {
            a = 1;
            b = "p";
          }
          {
            a = 2;
            b = "q";
          }
        ]
        (
          value (types.listOf sub) [
            [
              { b = "p"; }
              {
                a = 2;
                b = "q";
              }
            ]
          ]
        );
    submoduleOfNullOr = ok null (value (types.nullOr sub) [ null ]);
    submoduleFreeform =
      ok
        {
          a = 1;
          b = "x";
          other = 5;
        }
        (
          value
            (types.submodule {
              freeformType = types.attrsOf types.int;
              imports = sub.getSubModules;
            })
            [
              {
                b = "x";
                other = 5;
              }
            ]
        );
    submoduleOptionsAttribute = ok { config = 1; } (
      value (types.submodule { options.config = mkOption { type = types.int; }; }) [ { config = 1; } ]
    );
    submoduleWithArgs = ok { v = "special"; } (
      value (types.submoduleWith {
        specialArgs.s = "special";
        modules = [
          ({ s, ... }: {
            options.v = mkOption {
              default = s;
              type = types.str;
            };
          })
        ];
      }) [ { } ]
    );
    submodulePriorityOfWhole =
      ok
        {
          a = 1;
          b = "forced";
        }
        (
          value sub [
            {
              b = "x";
              a = 5;
            }
            (lib.mkForce { b = "forced"; })
          ]
        );
    submoduleDefault =
      ok
        {
          a = 1;
          b = "d";
        }
        (configOf [
          {
            options.o = mkOption {
              type = sub;
              default = {
                b = "d";
              };
            };
          }
        ]).o;
    deferredModule = ok 3 (
      (configOf [
        {
          options.x = mkOption { type = types.int; };
          imports = [ (value types.deferredModule [ { x = 3; } ]) ];
        }
      ]).x
    );
    attrTag = ok { yes = 1; } (
      value (types.attrTag {
        yes = mkOption { type = types.int; };
        no = mkOption { type = types.str; };
      }) [ { yes = 1; } ]
    );
    names =
      ok
        {
          a = "attribute set of signed integer";
          b = "attribute set of (null or string)";
          c = "list of (submodule)";
          d = "null or (list of string)";
          e = "one of \"a\", 1, true";
          f = "string or signed integer or list of string";
          g = "16 bit unsigned integer; between 0 and 65535 (both inclusive)";
          h = "positive integer, meaning >0";
          i = "integer between 1 and 3 (both inclusive)";
          j = "lazy attribute set of anything";
          k = "non-empty (list of string)";
          l = "strings concatenated with \"\\n\"";
          m = "strings concatenated with \",\"";
          n = "(list of string) or string convertible to it";
          o = "string matching the pattern [a-z]";
          p = "null or (positive integer, meaning >0)";
          q = "value \"x\" (singular enum)";
          r = "function that evaluates to a(n) signed integer";
          s = "null or (submodule)";
          t = "null or one of \"a\", \"b\"";
          u = "attribute set of attribute set of (submodule)";
          v = "module";
          w = "raw value";
          x = "boolean or (positive integer, meaning >0)";
          z = "(optionally newline-terminated) single-line string";
        }
        (
          descriptions (
            with types;
            {
              a = attrsOf int;
              b = attrsOf (nullOr str);
              c = listOf sub;
              d = nullOr (listOf str);
              e = enum [
                "a"
                1
                true
              ];
              f = oneOf [
                str
                int
                (listOf str)
              ];
              g = port;
              h = ints.positive;
              i = ints.between 1 3;
              j = lazyAttrsOf anything;
              k = nonEmptyListOf str;
              l = lines;
              m = commas;
              n = coercedTo str lib.singleton (listOf str);
              o = strMatching "[a-z]";
              p = nullOr ints.positive;
              q = enum [ "x" ];
              r = functionTo int;
              s = nullOr sub;
              t = nullOr (enum [
                "a"
                "b"
              ]);
              u = attrsOf (attrsOf sub);
              v = deferredModule;
              w = raw;
              x = either bool ints.positive;
              z = singleLineStr;
            }
          )
        );
    moreNames =
      ok
        {
          a = "attribute set";
          b = "string";
          c = "non-empty string";
          e = "package";
          f = "floating point number";
          g = "signed integer or floating point number";
          h = "boolean";
          i = "unspecified value";
          j = "unsigned integer, meaning >=0";
          k = "anything";
          l = "8 bit unsigned integer; between 0 and 255 (both inclusive)";
          m = "null or string or signed integer";
          n = "list of attribute set of string";
          o = "null or string or signed integer";
        }
        (
          descriptions (
            with types;
            {
              a = attrs;
              b = str;
              c = nonEmptyStr;
              e = package;
              f = float;
              g = number;
              h = bool;
              i = unspecified;
              j = ints.unsigned;
              k = anything;
              l = ints.u8;
              m = nullOr (either str int);
              n = listOf (attrsOf str);
              o = either (nullOr str) int;
            }
          )
        );
    documentation =
      ok
        [
          [
            "top"
            "string"
            "\"x\""
            null
          ]
          [
            "tree.<name>.a"
            "signed integer"
            "1"
            null
          ]
          [
            "tree.<name>.b"
            "string"
            null
            null
          ]
          [
            "tree"
            "attribute set of (submodule)"
            "{ }"
            "{\n  one = {\n    b = \"x\";\n  };\n}"
          ]
          [
            "list.*.n"
            "string"
            "the name"
            null
          ]
          [
            "list"
            "list of (submodule)"
            null
            null
          ]
        ]
        (
          let
            options =
              (evaluate [
                {
                  options.top = mkOption {
                    type = types.str;
                    default = "x";
                    description = "Top.";
                  };
                  options.tree = mkOption {
                    type = types.attrsOf sub;
                    default = { };
                    example = {
                      one.b = "x";
                    };
                    description = "Tree.";
                  };
                  options.list = mkOption {
                    type = types.listOf (
                      types.submodule {
                        options.n = mkOption {
                          type = types.str;
                          default = "x";
                          defaultText = lib.literalExpression "the name";
                        };
                      }
                    );
                  };
                }
              ]).options;
            list = lib.filter (o: !o.internal) (lib.optionAttrSetToDocList (removeAttrs options [ "_module" ]));
            row = o: [
              o.name
              o.type
              (o.default.text or null)
              (o.example.text or null)
            ];
            sorted = lib.sort (a: b: a < b) (map (o: o.name) list);
          in
          map (name: row (lib.findFirst (o: o.name == name) null list)) [
            "top"
            "tree.<name>.a"
            "tree.<name>.b"
            "tree"
            "list.*.n"
            "list"
          ]
        );
  };

  errors = {
    emptySubmodule = wrong "The option `[ob]' .*(used but not defined|no value defined)" (
      value sub [ ]
    );
    port =
      wrong
        "A definition for option `o' is not of type `16 bit unsigned integer; between 0 and 65535 \\(both inclusive\\)'"
        (value types.port [ 70000 ]);
    enum = wrong "A definition for option `o' is not of type `one of \"a\", \"b\"'" (
      value (types.enum [
        "a"
        "b"
      ]) [ "c" ]
    );
    listElement =
      wrong "A definition for option `o\\.\"\\[definition 1-entry 2\\]\"' is not of type `signed integer'"
        (
          value (types.listOf types.int) [
            [
              1
              "x"
            ]
          ]
        );
    attrsElement =
      wrong "A definition for option `o\\.k' is not of type `signed integer'"
        (value (types.attrsOf types.int) [ { k = "x"; } ]).k;
    uniq = wrong "The option `o' is defined multiple times while it's expected to be unique" (
      value (types.uniq types.int) [
        1
        2
      ]
    );
    raw = wrong "The option `o' is defined multiple times" (
      value types.raw [
        1
        2
      ]
    );
    nullAndValue = wrong "The option `o[`'] is defined both null and not null" (
      value (types.nullOr types.int) [
        null
        1
      ]
    );
    submoduleMissing =
      wrong "The option `o\\.b' .*(used but not defined|no value defined)"
        (value sub [ { } ]).b;
    submoduleNoSet = wrong "A definition for option `o' is not of type `submodule'" (value sub [ 3 ]);
    anythingKinds = wrong "The option `o' has conflicting option types" (
      value types.anything [
        1
        "x"
      ]
    );
    anythingConflict = wrong "The option `o\\.a' has conflicting definition values" (
      value types.anything [
        { a = 1; }
        { a = 2; }
      ]
    );
    coercedTo =
      wrong
        "A definition for option `o' is not of type `\\(list of string\\) or string convertible to it'"
        (value (types.coercedTo types.str lib.singleton (types.listOf types.str)) [ 1 ]);
    emptyNonEmptyList =
      wrong "A definition for option `o' is not of type `non-empty \\(?list of signed integer\\)?'"
        (value (types.nonEmptyListOf types.int) [ [ ] ]);
    freeform =
      wrong "A definition for option `o\\.other' is not of type `signed integer'"
        (value (types.submodule { freeformType = types.attrsOf types.int; }) [ { other = "x"; } ]).other;
  };
}
