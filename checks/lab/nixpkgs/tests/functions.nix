# Functions of lib outside the module system.
{ lib, ... }:
let
  ok = want: got: { inherit want got; };
  wrong = message: got: { inherit message got; };
in
{
  values = {
    escapeShellArg = ok [ "plain-1.2/x" "''" "'a b'" "'it'\\''s'" "'$x'" ] (
      map lib.escapeShellArg [
        "plain-1.2/x"
        ""
        "a b"
        "it's"
        "$x"
      ]
    );
    escapeShellArgs = ok "a 'b c'" (
      lib.escapeShellArgs [
        "a"
        "b c"
      ]
    );
    splitString = ok [ "a" "" "b.c" ] (lib.splitString "/" "a//b.c");
    splitStringDot = ok [ "1" "2" ] (lib.splitString "." "1.2");
    hasPrefix =
      ok
        [ true false true ]
        [ (lib.hasPrefix "ab" "abc") (lib.hasPrefix "b" "abc") (lib.hasPrefix "" "") ];
    hasSuffix = ok [ true false ] [ (lib.hasSuffix "bc" "abc") (lib.hasSuffix "xabc" "abc") ];
    hasInfix =
      ok
        [ true false true ]
        [ (lib.hasInfix "b" "abc") (lib.hasInfix "." "abc") (lib.hasInfix "a+b" "xa+by") ];
    removePrefix = ok [ "c" "abc" ] [ (lib.removePrefix "ab" "abc") (lib.removePrefix "x" "abc") ];
    removeSuffix = ok [ "a" "abc" ] [ (lib.removeSuffix "bc" "abc") (lib.removeSuffix "x" "abc") ];
    trim = ok [ "a b" "" ] [ (lib.trim "  a b\n") (lib.trim "  ") ];
    toUpper = ok "AÄ-1B" (lib.toUpper "aÄ-1b");
    concat =
      ok
        [ "a,b" "1a2b" "a\nb\n" ]
        [
          (lib.concatStringsSep "," [
            "a"
            "b"
          ])
          (lib.concatImapStrings (i: s: "${toString i}${s}") [
            "a"
            "b"
          ])
          (lib.concatLines [
            "a"
            "b"
          ])
        ];
    optional =
      ok
        [
          [ 1 ]
          [ ]
          [
            1
            2
          ]
          [ ]
          "s"
          ""
          { a = 1; }
          { }
        ]
        [
          (lib.optional true 1)
          (lib.optional false 1)
          (lib.optionals true [
            1
            2
          ])
          (lib.optionals false [ 1 ])
          (lib.optionalString true "s")
          (lib.optionalString false "s")
          (lib.optionalAttrs true { a = 1; })
          (lib.optionalAttrs false { a = 1; })
        ];
    fixedWidth =
      ok
        [ "0042" "  x" ]
        [
          (lib.fixedWidthNumber 4 42)
          (lib.fixedWidthString 3 " " "x")
        ];
    toInt =
      ok
        [
          12
          (-3)
          0
          7
        ]
        [ (lib.toInt "12") (lib.toInt "-3") (lib.toInt " 0 ") (lib.toIntBase10 "007") ];
    versions =
      ok
        [ true false true ]
        [
          (lib.versionAtLeast "1.10" "1.9")
          (lib.versionAtLeast "1.8" "1.9")
          (lib.versionOlder "1.8" "1.9")
        ];
    getName =
      ok
        [ "hello" "consul" ]
        [
          (lib.getName "hello-2.1")
          (lib.getName {
            pname = "consul";
            name = "x";
          })
        ];
    sanitize =
      ok
        [ "a-b" "unknown" "x.y" ]
        [
          (lib.strings.sanitizeDerivationName "a b")
          (lib.strings.sanitizeDerivationName "")
          (lib.strings.sanitizeDerivationName "..x.y")
        ];
    escapeNix =
      ok
        [ "\"a\\$b\"" "a-b" "\"1a\"" ]
        [
          (lib.strings.escapeNixString "a$b")
          (lib.strings.escapeNixIdentifier "a-b")
          (lib.strings.escapeNixIdentifier "1a")
        ];
    makeBinPath = ok "/a/bin:/b/bin" (
      lib.makeBinPath [
        "/a"
        "/b"
      ]
    );
    toShellVars = ok "a='x y'\ndeclare -a b=(1 'z w')" (
      lib.toShellVars {
        a = "x y";
        b = [
          1
          "z w"
        ];
      }
    );
    levenshtein =
      ok
        [ 3 0 1 ]
        [
          (lib.strings.levenshtein "kitten" "sitting")
          (lib.strings.levenshtein "a" "a")
          (lib.strings.levenshtein "ab" "b")
        ];
    replicate =
      ok
        [
          [
            1
            1
          ]
          "xx"
        ]
        [ (lib.replicate 2 1) (lib.strings.replicate 2 "x") ];
    floatToString = ok [ "1.500000" "2.000000" ] (
      map lib.strings.floatToString [
        1.5
        2.0
      ]
    );

    genAttrs = ok {
      a = "a!";
      b = "b!";
    } (lib.genAttrs [ "a" "b" ] (n: n + "!"));
    mapAttrs' = ok { x1 = 1; } (lib.mapAttrs' (n: v: lib.nameValuePair "${n}1" v) { x = 1; });
    filterAttrs = ok { b = 2; } (
      lib.filterAttrs (_: v: v > 1) {
        a = 1;
        b = 2;
      }
    );
    mapAttrsToList = ok [ "a1" "b2" ] (
      lib.mapAttrsToList (n: v: n + toString v) {
        b = 2;
        a = 1;
      }
    );
    concatMapAttrs =
      ok
        {
          a = 1;
          a2 = 1;
        }
        (
          lib.concatMapAttrs (n: v: {
            ${n} = v;
            "${n}2" = v;
          }) { a = 1; }
        );
    recursiveUpdate =
      ok
        {
          a = {
            b = 1;
            c = 3;
          };
          d = 4;
        }
        (
          lib.recursiveUpdate
            {
              a = {
                b = 1;
                c = 2;
              };
            }
            {
              a.c = 3;
              d = 4;
            }
        );
    byPath =
      ok
        [
          1
          "none"
          true
          false
          { a.b = 1; }
          1
        ]
        [
          (lib.attrByPath [ "a" "b" ] "none" { a.b = 1; })
          (lib.attrByPath [ "a" "x" ] "none" { a.b = 1; })
          (lib.hasAttrByPath [ "a" "b" ] { a.b = 1; })
          (lib.hasAttrByPath [ "a" "b" ] { a = 1; })
          (lib.setAttrByPath [ "a" "b" ] 1)
          (lib.getAttrFromPath [ "a" "b" ] { a.b = 1; })
        ];
    cartesianProduct =
      ok
        [
          {
            a = 1;
            b = 3;
          }
          {
            a = 1;
            b = 4;
          }
          {
            a = 2;
            b = 3;
          }
          {
            a = 2;
            b = 4;
          }
        ]
        (
          lib.cartesianProduct {
            a = [
              1
              2
            ];
            b = [
              3
              4
            ];
          }
        );
    foldlAttrs = ok "a1b2" (
      lib.foldlAttrs
        (
          acc: n: v:
          acc + n + toString v
        )
        ""
        {
          a = 1;
          b = 2;
        }
    );
    collect = ok [ 1 2 ] (
      lib.collect lib.isInt {
        a = 1;
        b.c = 2;
        d = "x";
      }
    );
    mergeAttrsList =
      ok
        {
          a = 1;
          b = 3;
        }
        (
          lib.mergeAttrsList [
            {
              a = 1;
              b = 2;
            }
            { b = 3; }
          ]
        );
    attrsToList = ok [
      {
        name = "a";
        value = 1;
      }
    ] (lib.attrsToList { a = 1; });

    unique = ok [ 3 1 2 ] (
      lib.unique [
        3
        1
        3
        2
        1
      ]
    );
    flatten = ok [ 1 2 3 ] (
      lib.flatten [
        1
        [
          2
          [ 3 ]
        ]
      ]
    );
    range =
      ok
        [
          [
            1
            2
            3
          ]
          [ ]
        ]
        [ (lib.range 1 3) (lib.range 3 1) ];
    imap =
      ok
        [
          [ "0a" ]
          [ "1a" ]
        ]
        [
          (lib.imap0 (i: v: toString i + v) [ "a" ])
          (lib.imap1 (i: v: toString i + v) [ "a" ])
        ];
    folds =
      ok
        [ "a(b(c(z)))" "z<a<b" 6 ]
        [
          (lib.foldr (x: acc: "${x}(${acc})") "z" [
            "a"
            "b"
            "c"
          ])
          (lib.foldl (acc: x: "${acc}<${x}") "z" [
            "a"
            "b"
          ])
          (lib.foldl' (a: b: a + b) 0 [
            1
            2
            3
          ])
        ];
    ends =
      ok
        [
          1
          3
          [
            1
            2
          ]
          [
            2
            3
          ]
          [
            1
            2
          ]
          [ 3 ]
          [ 2 ]
          [
            3
            2
            1
          ]
        ]
        [
          (lib.head [
            1
            2
            3
          ])
          (lib.last [
            1
            2
            3
          ])
          (lib.init [
            1
            2
            3
          ])
          (lib.tail [
            1
            2
            3
          ])
          (lib.take 2 [
            1
            2
            3
          ])
          (lib.drop 2 [
            1
            2
            3
          ])
          (lib.sublist 1 1 [
            1
            2
            3
          ])
          (lib.reverseList [
            1
            2
            3
          ])
        ];
    sorting =
      ok
        [
          [
            1
            2
            3
          ]
          [
            { k = 1; }
            { k = 2; }
          ]
          [
            "n2"
            "n10"
          ]
        ]
        [
          (lib.sort (a: b: a < b) [
            3
            1
            2
          ])
          (lib.sortOn (x: x.k) [
            { k = 2; }
            { k = 1; }
          ])
          (lib.naturalSort [
            "n10"
            "n2"
          ])
        ];
    finding =
      ok
        [ 2 "none" 1 2 ]
        [
          (lib.findFirst (x: x > 1) "none" [
            1
            2
            3
          ])
          (lib.findFirst (x: x > 5) "none" [ 1 ])
          (lib.lists.findFirstIndex (x: x > 1) null [
            1
            2
          ])
          (lib.count (x: x > 1) [
            1
            2
            3
          ])
        ];
    sets =
      ok
        [
          [ 2 ]
          [ 1 ]
          true
          [ 1 ]
        ]
        [
          (lib.intersectLists [ 2 3 ] [ 1 2 ])
          (lib.subtractLists [ 2 ] [ 1 2 ])
          (lib.mutuallyExclusive [ 1 ] [ 2 ])
          (lib.remove 2 [
            1
            2
          ])
        ];
    groupBy =
      ok
        {
          a = [
            "a1"
            "a2"
          ];
          b = [ "b" ];
        }
        (
          lib.groupBy (lib.substring 0 1) [
            "a1"
            "b"
            "a2"
          ]
        );
    lists =
      ok
        [
          true
          [ 3 ]
          [ 1 ]
        ]
        [
          (lib.lists.hasPrefix [ 1 ] [ 1 2 ])
          (lib.lists.removePrefix [ 1 ] [ 1 3 ])
          (lib.lists.commonPrefix [ 1 2 ] [ 1 3 ])
        ];

    pipe = ok 6 (
      lib.pipe 2 [
        (x: x + 1)
        (x: x * 2)
      ]
    );
    fix =
      ok 3
        (lib.fix (self: {
          a = 1;
          b = self.a + 2;
        })).b;
    extends =
      ok
        {
          a = 2;
          b = 3;
        }
        (
          lib.fix (
            lib.extends (_: prev: { a = prev.a + 1; }) (self: {
              a = 1;
              b = self.a + 1;
            })
          )
        );
    makeExtensible = ok [ 1 2 ] (
      let
        e = lib.makeExtensible (_: {
          a = 1;
        });
      in
      [
        e.a
        (e.extend (_: prev: { a = prev.a + 1; })).a
      ]
    );
    functionArgs =
      ok
        {
          a = false;
          b = true;
        }
        (
          lib.functionArgs (
            lib.setFunctionArgs (_: null) {
              a = false;
              b = true;
            }
          )
        );
    conversions =
      ok
        [
          "true"
          "false"
          null
          [ 1 ]
        ]
        [
          (lib.boolToString true)
          (lib.boolToString false)
          (lib.mapNullable (x: x) null)
          (lib.toList 1)
        ];
    asserts =
      ok
        [ 1 2 true ]
        [
          (lib.throwIf false "no" 1)
          (lib.throwIfNot true "no" 2)
          (lib.assertMsg true "no")
        ];

    ini = ok "[a]\nx=1\ny=true\n\n[b]\nz=q\n" (
      lib.generators.toINI { } {
        a = {
          x = 1;
          y = true;
        };
        b.z = "q";
      }
    );
    iniDuplicates = ok "[a]\nx=1\nx=2\n" (
      lib.generators.toINI { listsAsDuplicateKeys = true; } {
        a.x = [
          1
          2
        ];
      }
    );
    keyValue = ok "a=1\nb=x y\n" (
      lib.generators.toKeyValue { } {
        a = 1;
        b = "x y";
      }
    );
    keyValueSeparator = ok "a: 1\n" (
      lib.generators.toKeyValue { mkKeyValue = lib.generators.mkKeyValueDefault { } ": "; } { a = 1; }
    );
    pretty =
      ok
        "{\n  a = 1;\n  \"b c\" = [\n    true\n    null\n    \"q\\\"\"\n  ];\n  d = { };\n  e = [ ];\n  f = <function>;\n}"
        (
          lib.generators.toPretty { } {
            a = 1;
            "b c" = [
              true
              null
              "q\""
            ];
            d = { };
            e = [ ];
            f = x: x;
          }
        );
    prettyOneLine = ok "{ a = [ 1 2 ]; }" (
      lib.generators.toPretty { multiline = false; } {
        a = [
          1
          2
        ];
      }
    );
    prettyLines = ok "''\n  a\n  b\n''" (lib.generators.toPretty { } "a\nb\n");

    enableOption = ok [ "Whether to enable x." false true ] (
      let
        o = lib.mkEnableOption "x";
      in
      [
        o.description
        o.default
        o.example
      ]
    );
    packageOption = ok [ "pkgs.x" "the-package" ] (
      let
        o = lib.mkPackageOption { x = "the-package"; } "x" { };
      in
      [
        o.defaultText.text
        o.default
      ]
    );
    literal = ok {
      _type = "literalExpression";
      text = "x";
    } (lib.literalExpression "x");
    isOption = ok [ true false false ] (
      map lib.isOption [
        (lib.mkOption { })
        { }
        1
      ]
    );
    licences =
      ok
        [ "MIT" "Apache-2.0" true false ]
        [ lib.licenses.mit.spdxId lib.licenses.asl20.spdxId lib.licenses.mit.free lib.licenses.bsl11.free ];
    platforms = ok [ true true false ] (
      map (s: lib.elem s lib.platforms.linux) [
        "x86_64-linux"
        "aarch64-linux"
        "x86_64-darwin"
      ]
    );
    systems = ok [ true true ] (
      map (s: lib.elem s lib.systems.flakeExposed) [
        "x86_64-linux"
        "aarch64-darwin"
      ]
    );
    elaborate = ok [ "x86_64-unknown-linux-gnu" true false ] (
      let
        p = lib.systems.elaborate "x86_64-linux";
      in
      [
        p.config
        p.isLinux
        p.isAarch64
      ]
    );
    subpath =
      ok
        [
          "./a/b"
          [
            "a"
            "b"
          ]
          true
          false
        ]
        [
          (lib.path.subpath.join [
            "a"
            "./b"
          ])
          (lib.path.subpath.components "./a/b")
          (lib.path.subpath.isValid "a/b")
          (lib.path.subpath.isValid "../a")
        ];
    getExe' = ok "/nix/x/bin/tool" (
      builtins.unsafeDiscardStringContext (
        lib.getExe' {
          type = "derivation";
          outPath = "/nix/x";
          name = "x";
        } "tool"
      )
    );
    getExe = ok "/nix/x/bin/main" (
      builtins.unsafeDiscardStringContext (
        lib.getExe {
          type = "derivation";
          outPath = "/nix/x";
          name = "x";
          meta.mainProgram = "main";
        }
      )
    );
    callPackage = ok [ 3 5 ] (
      let
        call = lib.callPackageWith {
          a = 1;
          b = 2;
        };
        p = call ({ a, b }: { sum = a + b; }) { };
      in
      [
        p.sum
        (p.override { b = 4; }).sum
      ]
    );
    importJSON = ok { x = 1; } (lib.importJSON ./lib/data.json);
    importTOML = ok {
      x = {
        y = 1;
      };
    } (lib.importTOML ./lib/data.toml);
    fileContents = ok "{\"x\":1}" (lib.fileContents ./lib/data.json);
  };

  errors = {
    throwIf = wrong "the message" (lib.throwIf true "the message" 1);
    assertMsg = wrong "the message" (lib.assertMsg false "the message");
    toInt = wrong "Could not convert.*int" (lib.toInt "x");
    lastOfNothing = wrong "empty" (lib.last [ ]);
    absentFunction = wrong "attribute 'noSuchFunction' missing" (lib.noSuchFunction 1);
    fromPath = wrong "cannot find attribute [`']a\\.b'" (lib.getAttrFromPath [ "a" "b" ] { a.c = 1; });
  };
}
