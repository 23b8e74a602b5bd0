# mkDerivation and what is built directly on it.
{ lib, final }:
let
  # Attributes that the builder does not get.
  notInBuild = [
    "meta"
    "passthru"
    "pos"
    "env"
  ];

  derivationOf =
    attrs:
    let
      name = attrs.name or "${attrs.pname}-${attrs.version}";
      inputs = field: lib.filter (input: input != null) (lib.flatten (attrs.${field} or [ ]));
      build = removeAttrs attrs notInBuild // attrs.env or { };
      drv = derivation (
        build
        // {
          inherit name;
          inherit (final) system;
          builder = "/bin/bash";
          stdenv = ./stdenv;
          outputs = attrs.outputs or [ "out" ];
          args = [
            "-c"
            "set -eu -o pipefail; source $stdenv/setup; cd \"$NIX_BUILD_TOP\"; ${
              if attrs ? buildCommand then "eval \"$buildCommand\"" else "genericBuild"
            }"
          ];
          nativeBuildInputs =
            inputs "nativeBuildInputs" ++ lib.optionals (attrs.doCheck or false) (inputs "nativeCheckInputs");
          buildInputs = inputs "buildInputs";
        }
      );
      meta = {
        inherit name;
        outputsToInstall = [ "out" ];
        available = true;
      }
      // attrs.meta or { };
      decorated =
        drv
        // {
          inherit name meta;
          inherit (final) system stdenv;
          passthru = attrs.passthru or { };
          overrideAttrs =
            change:
            let
              before = attrs;
              function = if lib.isFunction change then change else _: change;
              once = function before;
              # One argument (previous), or two (final, previous).
              changed =
                if lib.isFunction once then function (attrs // { finalPackage = decorated; }) before else once;
            in
            derivationOf (before // changed);
        }
        // lib.optionalAttrs (attrs ? pname) { inherit (attrs) pname version; }
        // lib.optionalAttrs (attrs ? src) { inherit (attrs) src; }
        // attrs.passthru or { };
    in
    final.checked decorated;

  stdenv = {
    name = "stdenv-of-the-machine";
    mkDerivation =
      given:
      if lib.isFunction given then
        let
          self = derivationOf (given (self' // { finalPackage = self; }));
          self' = given (self' // { finalPackage = self; });
        in
        self
      else
        derivationOf given;
    inherit (final) hostPlatform;
    buildPlatform = final.hostPlatform;
    targetPlatform = final.hostPlatform;
    isLinux = final.hostPlatform.isLinux;
    isDarwin = final.hostPlatform.isDarwin;
    shell = "/bin/bash";
    cc = {
      # The machine's compiler.
      isGNU = true;
      isClang = false;
      targetPrefix = "";
    };
  };
in
{
  stdenvMachine = stdenv;
  stdenvNoCC = stdenv;
  runtimeShell = "/bin/bash";
  mkShell = final.mkShellNoCC;
  mkShellNoCC =
    {
      name ? "nix-shell",
      packages ? [ ],
      inputsFrom ? [ ],
      nativeBuildInputs ? [ ],
      buildInputs ? [ ],
      shellHook ? "",
      ...
    }@attrs:
    stdenv.mkDerivation (
      removeAttrs attrs [
        "packages"
        "inputsFrom"
      ]
      // {
        inherit name;
        nativeBuildInputs =
          nativeBuildInputs ++ packages ++ lib.concatMap (p: p.nativeBuildInputs or [ ]) inputsFrom;
        buildInputs = buildInputs ++ lib.concatMap (p: p.buildInputs or [ ]) inputsFrom;
        shellHook = lib.concatStringsSep "\n" (
          lib.filter (hook: hook != "") (map (p: p.shellHook or "") inputsFrom ++ [ shellHook ])
        );
        buildCommand = ''
          echo "a development shell; this file lists what it was made of" >$out
          printf '%s\n' $nativeBuildInputs $buildInputs >>$out
        '';
      }
    );
  runCommand =
    name: env: buildCommand:
    stdenv.mkDerivation (
      { inherit name buildCommand; } // env // { passAsFile = env.passAsFile or [ ]; }
    );
}
