# `nix flake check`.
{
  lib,
  pkgs,
  self,
  system,
  packages,
  program,
}:
let
  tested = pkgs.callPackage ./package.nix { withTests = true; };

  # Evaluates each node's system. Building it would need a machine of its platform.
  evaluation = lib.mapAttrs' (
    name: node:
    lib.nameValuePair "evaluation-${name}" (
      pkgs.writeText "evaluation-${name}" (
        builtins.unsafeDiscardStringContext node.config.system.build.toplevel.drvPath
      )
    )
  ) self.nixosConfigurations;

  metadata = lib.mapAttrs' (
    name: cluster:
    lib.nameValuePair "cluster-${name}" (
      pkgs.writeText "cluster-${name}.json" (builtins.toJSON cluster)
    )
  ) self.clusters;

  # Tests in virtual machines, which only Linux can start. Each file is a function from the arguments below to a test.
  machines = lib.optionalAttrs pkgs.stdenv.hostPlatform.isLinux (
    lib.mapAttrs' (
      file: _:
      lib.nameValuePair (lib.removeSuffix ".nix" file) (
        pkgs.testers.runNixOSTest (
          import (../checks + "/${file}") {
            inherit lib self;
            nixcfg = program;
          }
        )
      )
    ) (lib.filterAttrs (file: _: lib.hasSuffix ".nix" file) (builtins.readDir ../checks))
  );
in
evaluation
// metadata
// machines
// {
  # The build runs the unit tests.
  package = tested;

  clippy = tested.overrideAttrs (previous: {
    pname = "nixcfg-clippy";
    nativeBuildInputs = previous.nativeBuildInputs ++ [ pkgs.clippy ];
    buildPhase = ''
      runHook preBuild
      cargo clippy --offline --all-targets -- -D warnings
      runHook postBuild
    '';
    doCheck = false;
    installPhase = "touch $out";
  });

  formatting =
    pkgs.runCommand "formatting"
      {
        nativeBuildInputs = [
          pkgs.nixfmt
          pkgs.rustfmt
          pkgs.findutils
        ];
      }
      ''
        cd ${self}
        find . -name '*.nix' -print0 | xargs -0 nixfmt --check
        find . -name '*.rs' -print0 | xargs -0 rustfmt --edition 2024 --check
        touch $out
      '';

  options-doc = pkgs.runCommand "options-doc" { } ''
    diff -u ${../doc/options.md} ${packages.options-doc}
    touch $out
  '';
}
