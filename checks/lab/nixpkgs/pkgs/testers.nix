# testers.runNixOSTest: evaluates all of a VM test, but cannot run it.
{ lib, final }:
let
  testModule =
    { config, ... }:
    {
      options = {
        name = lib.mkOption { type = lib.types.str; };
        nodes = lib.mkOption {
          type = lib.types.lazyAttrsOf lib.types.deferredModule;
          default = { };
          apply =
            nodes:
            lib.mapAttrs (
              name: module:
              (import ../nixos {
                inherit lib;
                system = null;
                specialArgs = {
                  nodes = config.nodes;
                }
                // config.node.specialArgs;
                modules = [
                  {
                    _file = "runNixOSTest";
                    networking.hostName = lib.mkDefault name;
                    nixpkgs.pkgs = lib.mkDefault final;
                  }
                  ../nixos/read-only-pkgs.nix
                  ../nixos/test-node.nix
                  config.defaults
                  module
                ];
              }).config
            ) nodes;
        };
        defaults = lib.mkOption {
          type = lib.types.deferredModule;
          default = { };
        };
        node.specialArgs = lib.mkOption {
          type = lib.types.lazyAttrsOf lib.types.raw;
          default = { };
        };
        testScript = lib.mkOption {
          type = lib.types.either lib.types.str (lib.types.functionTo lib.types.str);
        };
        passthru = lib.mkOption {
          type = lib.types.lazyAttrsOf lib.types.raw;
          default = { };
        };
        meta = lib.mkOption {
          type = lib.types.attrsOf lib.types.raw;
          default = { };
        };
      };
    };

  # To evaluate it is to evaluate every node's system. To build it is an error.
  driver =
    evaluated: kind:
    let
      inherit (evaluated.config) name nodes testScript;
      script = if lib.isFunction testScript then testScript { inherit nodes; } else testScript;
    in
    final.runCommand "${kind}-${name}"
      {
        passAsFile = [ "testScript" ];
        testScript = script;
        systems = lib.mapAttrsToList (
          _: node: builtins.unsafeDiscardStringContext node.system.build.toplevel.drvPath
        ) nodes;
      }
      ''echo "not run: the VM test ${name} needs real nixpkgs (the stand-in has no kernel and no QEMU image)" >&2; exit 1'';

  runNixOSTest =
    test:
    let
      evaluated = lib.evalModules {
        modules = [
          testModule
          {
            _module.args = {
              pkgs = final;
              hostPkgs = final;
            };
          }
          test
        ];
      };
    in
    driver evaluated "vm-test-run"
    // {
      inherit (evaluated) config options;
      inherit (evaluated.config) nodes;
      driver = driver evaluated "nixos-test-driver";
    }
    // evaluated.config.passthru;
in
{
  testers = { inherit runNixOSTest; };
}
