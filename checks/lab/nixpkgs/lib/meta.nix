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
  addMetaAttrs = added: package: package // { meta = package.meta or { } // added; };
  setName = name: package: package // { inherit name; };
  hiPrio = setPrio (-10);
  lowPrio = setPrio 10;
  setPrio = priority: addMetaAttrs { inherit priority; };
  platformMatch =
    platform: wanted:
    if lib.isString wanted then platform.system == wanted else lib.matchAttrs wanted platform;
  availableOn =
    platform: package:
    lib.any (platformMatch platform) (package.meta.platforms or [ platform.system ])
    && !lib.any (platformMatch platform) (package.meta.badPlatforms or [ ]);
  licensesSpdx = lib.mapAttrs' (_: license: lib.nameValuePair license.spdxId license) (
    lib.filterAttrs (_: license: license ? spdxId) lib.licenses
  );
}
