# The package set: builders, the machine's programs, and what overlays add.
{
  lib,
  system,
  config,
  overlays,
}:
let
  settings = if lib.isFunction config then config { inherit pkgs lib; } else config;
  allowed =
    package: settings.allowUnfree or false || (settings.allowUnfreePredicate or (_: false)) package;

  # As in nixpkgs, the use of an unfree package is an error unless the configuration allows it.
  checked =
    package:
    let
      free = lib.all (license: license.free or true) (lib.toList (package.meta.license or [ ]));
      refusal = throw "Package ‘${package.name}’ has an unfree license (‘${
        lib.concatMapStringsSep ", " (license: license.shortName) (lib.toList package.meta.license)
      }’), refusing to evaluate.";
    in
    if free || allowed package then
      package
    else
      package
      // {
        outPath = refusal;
        drvPath = refusal;
      };

  base = final: {
    inherit lib checked;
    _type = "pkgs";
    config = settings;
    inherit overlays system;
    pkgs = final;
    stdenv = final.stdenvMachine;
    path = ../.;
    hostPlatform = lib.systems.elaborate system;
    targetPlatform = final.hostPlatform;
    buildPackages = final;
    pkgsBuildBuild = final;
    callPackage = lib.callPackageWith final;
    appendOverlays =
      more:
      import ./. {
        inherit lib system config;
        overlays = overlays ++ more;
      };
  };
  parts = map (file: final: import file { inherit lib final; }) [
    ./build/derivation.nix
    ./build/text.nix
    ./build/trees.nix
    ./build/rust.nix
    ./formats.nix
    ./programs.nix
    ./kernels.nix
    ./testers.nix
  ];
  own = final: lib.foldl' (set: part: set // part final) { } ([ base ] ++ parts);
  pkgs = lib.fix (lib.foldl' (lib.flip lib.extends) own overlays);
in
pkgs
