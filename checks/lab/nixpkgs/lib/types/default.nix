# `lib.types`: one set out of the files here.
{ lib }:
let
  parts = map (file: import file { inherit lib; }) [
    ./core.nix
    ./simple.nix
    ./nested.nix
    ./modules.nix
  ];
in
lib.foldl' lib.mergeAttrs { } parts
