# What the operators' machines of tests in virtual machines share. ./desk.py is the part of their scripts.
{ lib }:
{
  # Flakes, without a network.
  nix.settings = {
    experimental-features = [
      "nix-command"
      "flakes"
    ];
    substituters = lib.mkForce [ ];
    flake-registry = "";
  };

  # The tool's data of the cluster `vm` as a Python string with JSON. The machines have no nixpkgs to evaluate it with.
  data =
    ofNode:
    let
      whole = lib.head (lib.attrValues ofNode);
    in
    builtins.toJSON (
      builtins.toJSON (
        import ../../nix/lib/data.nix {
          inherit lib ofNode whole;
          inherit (whole) sites nodes;
          name = "vm";
          ofSite = { };
        }
      )
    );
}
