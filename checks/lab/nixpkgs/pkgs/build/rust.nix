# rustPlatform.buildRustPackage with the machine's cargo, which obeys Cargo.lock and fetches crates itself.
{ lib, final }:
let
  buildRustPackage =
    given:
    let
      args = if lib.isFunction given then lib.fix given else given;
      lockFile = args.cargoLock.lockFile or null;
      noHash = args.cargoHash or null == null || lockFile != null;
    in
    assert lib.assertMsg noHash "the stand-in's buildRustPackage wants cargoLock.lockFile";
    final.stdenv.mkDerivation (
      {
        doCheck = true;
        buildType = "release";
        strictDeps = true;
      }
      // removeAttrs args [
        "cargoLock"
        "buildFeatures"
        "cargoBuildFlags"
        "cargoTestFlags"
        "checkFlags"
        "buildNoDefaultFeatures"
        "cargoHash"
      ]
      // {
        inherit lockFile;
        nativeBuildInputs = lib.toList (args.nativeBuildInputs or [ ]) ++ [
          final.cargo
          final.rustc
        ];
        cargoFlags =
          lib.optional (args.buildNoDefaultFeatures or false) "--no-default-features"
          ++ lib.optional (
            args.buildFeatures or [ ] != [ ]
          ) "--features=${lib.concatStringsSep "," args.buildFeatures}"
          ++ lib.toList (args.cargoBuildFlags or [ ]);
        cargoTestFlags = lib.toList (args.cargoTestFlags or [ ]);
        checkFlags = lib.toList (args.checkFlags or [ ]);
        configurePhase =
          args.configurePhase
            or "source ${./cargo.sh}; runHook preConfigure; cargoConfigure; runHook postConfigure";
        buildPhase = args.buildPhase or "runHook preBuild; cargoBuild; runHook postBuild";
        checkPhase = args.checkPhase or "runHook preCheck; cargoCheck; runHook postCheck";
        installPhase = args.installPhase or "runHook preInstall; cargoInstall; runHook postInstall";
      }
    );
in
{
  rustPlatform = {
    inherit buildRustPackage;
    inherit (final)
      cargo
      rustc
      rustfmt
      clippy
      ;
  };
}
