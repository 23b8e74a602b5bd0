# Packages' metadata.
{ lib }:
rec {
  getExe =
    package:
    getExe' package (
      package.meta.mainProgram
        or (lib.warn "getExe: Package ${lib.strings.escapeNixString (package.meta.name or package.pname or package.name)} does not have the meta.mainProgram attribute." (
          lib.getName package
        ))
    );
  getExe' =
    package: program:
    assert lib.assertMsg (lib.isDerivation package)
      "lib.meta.getExe': the first argument is not a derivation";
    assert lib.assertMsg (
      lib.isString program && !lib.hasInfix "/" program
    ) "lib.meta.getExe': the second argument must be the name of a program, without a folder";
    "${lib.getBin package}/bin/${program}";
}
