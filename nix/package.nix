{
  lib,
  rustPlatform,
}:
let
  root = toString ../.;

  # Only what cargo reads: a change of a cluster's files must not build the tool anew.
  isSource =
    path: type:
    let
      name = lib.removePrefix "${root}/" path;
    in
    name == "Cargo.toml"
    || name == "Cargo.lock"
    || name == "clippy.toml"
    || name == "src"
    || lib.hasPrefix "src/" name
    || name == "checks"
    || (dirOf name == "checks" && type == "regular" && lib.hasSuffix ".rs" name);

  manifest = lib.importTOML ../Cargo.toml;
in
rustPlatform.buildRustPackage {
  pname = "nixcfg";
  inherit (manifest.package) version;

  src = builtins.path {
    path = ../.;
    name = "nixcfg-source";
    filter = isSource;
  };
  cargoLock.lockFile = ../Cargo.lock;

  # The integration tests drive real nodes, which a build has not: checks/run starts them.
  cargoTestFlags = [
    "--lib"
    "--bins"
  ];

  meta = {
    description = "Deploys and keeps NixOS clusters that run Consul and Nomad";
    license = [
      lib.licenses.mit
      lib.licenses.asl20
    ];
    mainProgram = "nixcfg";
    platforms = lib.platforms.unix;
  };
}
