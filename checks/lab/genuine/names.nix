# What to download for the packages in files such as packages.nix: lines with a suite of Debian and the names of its packages.
files:
let
  packages = import ./definitions.nix files;
  of =
    suite:
    builtins.concatLists (
      map (package: if (package.suite or "trixie") == suite then package.debs else [ ]) (
        builtins.attrValues packages
      )
    );
  line =
    suite:
    let
      names = of suite;
    in
    if names == [ ] then "" else "${suite} ${builtins.concatStringsSep " " names}\n";
in
line "trixie" + line "bullseye"
