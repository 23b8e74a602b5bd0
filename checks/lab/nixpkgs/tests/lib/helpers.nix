{ lib }:
rec {
  evaluate = modules: lib.evalModules { inherit modules; };
  configOf = modules: (evaluate modules).config;
}
