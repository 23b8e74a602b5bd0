# One case that must fail.
{
  lib,
  file,
  name,
}:
(import file {
  inherit lib;
  inherit (import ./helpers.nix { inherit lib; }) evaluate configOf;
}).errors.${name}.got
