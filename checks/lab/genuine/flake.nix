# A genuine nixpkgs whose packages are Debian's programs, for machines without a binary cache: use it in nixpkgs' place, as
# `checks/lab/lab up --nixos` does, which writes beside this file where nixpkgs is (source.json) and which Debian packages
# there are (debs.json). See checks/lab/README.md.
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

      # The same systems as with nixpkgs itself, over these packages and with what a node of the lab is.
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

      # A line a package: its path, and what starts its program to see that it runs, for those that have one.
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

      # What a node runs before the first deployment to it.
      bare = nixosSystem { modules = [ ./bare.nix ]; };
    };
}
