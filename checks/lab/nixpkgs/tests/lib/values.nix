# The values of a file of cases, each with the expected one, and the patterns of its errors.
{ lib, file }:
let
  cases = import file {
    inherit lib;
    inherit (import ./helpers.nix { inherit lib; }) evaluate configOf;
  };
in
{
  values = builtins.mapAttrs (
    _: case:
    let
      tried = builtins.tryEval (builtins.deepSeq case.got case.got);
    in
    {
      inherit (case) want;
      got = if tried.success then tried.value else "an error";
    }
  ) cases.values;
  errors = builtins.mapAttrs (_: case: case.message) cases.errors or { };
}
