# The parts of this package set: the packages of nodes and, if ../vm.sh has put `vm` here, those of virtual machines.
let
  machines = builtins.pathExists ./vm;
in
{
  # Name of a Debian package → version, file (in the lab's cache), sha256; written by checks/lab/genuine.sh.
  debs = builtins.fromJSON (builtins.readFile ./debs.json);
  definitions = import ./definitions.nix (
    [ ./packages.nix ] ++ (if machines then [ ./vm/packages.nix ] else [ ])
  );
  # Folders with a script for some of the packages.
  scripts = [ ./pkgs ] ++ (if machines then [ ./vm/pkgs ] else [ ]);
  overlays = [ (import ./overlay.nix) ] ++ (if machines then [ (import ./vm/overlay.nix) ] else [ ]);
}
