{
  lib,
  rustPlatform,
  stdenv,
  installShellFiles,
  # Whether the build runs the tests. Users of the tool do not wait for them.
  withTests ? false,
}:
let
  root = toString ../.;

  # Only what cargo reads: a changed cluster file or test must not rebuild the tool.
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
    || (withTests && isTest name type);

  isTest =
    name: type:
    name == "checks"
    || name == "flake.lock" # a test reads it
    || name == "README.md" # a test reads the commands in README.md and doc/
    || name == "doc"
    || lib.hasPrefix "doc/" name
    || (
      lib.hasPrefix "checks/" name
      && (
        type == "directory"
        || lib.hasSuffix ".rs" name
        || lib.hasSuffix ".snap" name
        || name == "checks/support/cluster.nix"
      )
    );

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

  nativeBuildInputs = [ installShellFiles ];
  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    $out/bin/nixcfg manual manual
    installManPage manual/*.1
    installShellCompletion --cmd nixcfg --bash manual/nixcfg.bash --fish manual/nixcfg.fish --zsh manual/_nixcfg
  '';

  doCheck = withTests;
  # The integration tests need real nodes, so checks/run runs them.
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
