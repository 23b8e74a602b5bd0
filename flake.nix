{
  description = "NixOS clusters that run Consul and Nomad: configured, deployed and kept";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;

      # Not x86_64-darwin: nixpkgs 26.05 is its last release and warns of it at each evaluation; 26.11 refuses it.
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "aarch64-darwin"
      ];

      perSystem = lib.genAttrs systems (
        system: import ./nix/per-system.nix { inherit self nixpkgs system; }
      );
      collect = output: lib.mapAttrs (_: outputs: outputs.${output}) perSystem;

      ours = self.lib.mkClusters { dir = ./cluster; };
    in
    {
      lib.mkClusters = import ./nix/lib/mk-clusters.nix { inherit nixpkgs; };

      inherit (ours) clusters nixosConfigurations;

      nixosModules = rec {
        # For a machine of an operator's.
        alarm = import ./nix/alarm.nix { inherit self; };
        # Without a package set of its own: for nodes of tests, which are given theirs.
        node = {
          imports = [
            ./nix/model
            ./nix/modules
          ];
        };
        default = {
          imports = [
            node
            ./nix/modules/nixpkgs.nix
          ];
        };
      };

      templates.default = {
        path = ./templates/cluster;
        description = "A repository of clusters that are run with nixcfg";
        welcomeText = ''
          `cluster/prod` is an example of one node. Say in `flake.nix` where nixcfg is kept, then either change the example, or
          remove it and have a cluster of your own written: `git init && git add -A && nix run .#init -- prod`.

          After that: `nix run .#deploy-nixos -- prod`.
        '';
      };

      packages = collect "packages";
      apps = collect "apps";
      devShells = collect "devShells";
      formatter = collect "formatter";
      checks = collect "checks";
    };
}
