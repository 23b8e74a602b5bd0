# The lines of what is to be downloaded: a suite of Debian and names of packages.
let
  packages = import ./packages.nix;
  of =
    suite:
    builtins.concatLists (
      map (package: if (package.suite or "trixie") == suite then package.debs else [ ]) (
        builtins.attrValues packages
      )
    );
  line = suite: "${suite} ${builtins.concatStringsSep " " (of suite)}\n";
in
line "trixie" + line "bullseye"
