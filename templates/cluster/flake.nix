{
  description = "The clusters of our organisation";

  inputs = {
    # Where nixcfg is kept: a URL of the kind github:<owner>/nixcfg.
    nixcfg.url = "github:example/nixcfg";
    nixpkgs.follows = "nixcfg/nixpkgs";
  };

  outputs =
    {
      nixcfg,
      nixpkgs,
      ...
    }:
    let
      ours = nixcfg.lib.mkClusters {
        inherit nixpkgs;
        dir = ./cluster;
      };
    in
    {
      inherit (ours) clusters nixosConfigurations;
      inherit (nixcfg) apps devShells formatter;
    };
}
