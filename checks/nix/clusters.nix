# The clusters of any folder with any nixpkgs, both given as folders, so that a fixture needs no flake of its own.
{
  nixpkgs,
  dir,
}:
let
  flake =
    let
      self = (import (/. + nixpkgs + "/flake.nix")).outputs { inherit self; } // {
        outPath = nixpkgs;
      };
    in
    self;

  mkClusters = import ../../nix/lib/mk-clusters.nix { nixpkgs = flake; };
in
mkClusters (
  {
    dir = /. + dir + "/cluster";
  }
  // (
    if builtins.pathExists (/. + dir + "/arguments.nix") then
      import (/. + dir + "/arguments.nix")
    else
      { }
  )
)
