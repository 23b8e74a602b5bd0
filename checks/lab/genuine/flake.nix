# Genuine nixpkgs with Debian's programs as packages, for machines without a binary cache. `checks/lab/lab up --nixos` uses it in place of
# nixpkgs, and writes two files beside this one: where nixpkgs is (source.json), and the Debian packages (debs.json). See
# checks/lab/README.md.
{
  description = "nixpkgs with packages made of Debian's";

  outputs =
    { self }:
    let
      source = import ./source.nix;
      genuine = (import "${source}/flake.nix").outputs {
        self = genuine // {
          outPath = source;
          lastModifiedDate = "19700101000000";
          shortRev = "lab";
        };
      };

      # As nixpkgs' function, with these packages and the settings of a lab node.
      nixosSystem =
        args: genuine.lib.nixosSystem (args // { modules = args.modules ++ [ ./profile.nix ]; });

      lib = genuine.lib.extend (_: _: { inherit nixosSystem; });
    in
    {
      inherit lib;
      inherit (genuine) nixosModules;
      legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (
        system: import ./. { inherit system; }
      );

      # One line for each package: its path and, if it has a program, a command that tries it.
      programs = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (
        system:
        let
          debian = import ./debian.nix { inherit lib system; };
        in
        debian.list "programs" (
          lib.concatStrings (
            lib.mapAttrsToList (
              _: package:
              "${package}${
                lib.optionalString (package.meta ? mainProgram) " ${lib.getExe package} ${package.try}"
              }\n"
            ) debian.packages
          )
        )
      );

      # The system of a node before its first deployment.
      bare = nixosSystem { modules = [ ./bare.nix ]; };
    };
}
