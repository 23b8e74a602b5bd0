# The flake's outputs of one system.
{
  self,
  nixpkgs,
  system,
}:
let
  inherit (nixpkgs) lib;

  pkgs = import nixpkgs {
    inherit system;
    config.allowUnfreePredicate = import ./lib/unfree.nix { inherit lib; };
  };

  program = pkgs.callPackage ./package.nix { };
in
rec {
  packages = rec {
    nixcfg = import ./with-revision.nix {
      inherit lib pkgs program;
      revision = self.shortRev or self.dirtyShortRev or null;
    };
    default = nixcfg;
    options-doc = pkgs.writeText "options.md" (import ./options-doc.nix { inherit lib; });
  };

  apps = import ./apps.nix {
    inherit lib pkgs;
    nixcfg = program;
  };

  devShells.default = import ./dev-shell.nix { inherit pkgs; };

  formatter = import ./formatter.nix { inherit pkgs; };

  checks = import ./checks.nix {
    inherit
      lib
      pkgs
      self
      system
      packages
      program
      ;
  };
}
