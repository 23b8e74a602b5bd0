# `lib.types`: the files of this folder in one set.
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
