# Kernels in name only: a node of the lab runs the machine's. The version is what a reboot is decided by.
{ lib, final }:
let
  packagesFor =
    version: extra:
    {
      kernel = final.runCommand "linux-${version}" {
        pname = "linux";
        inherit version;
        passthru = {
          modDirVersion = version;
          stdenv = final.stdenv;
        };
      } "mkdir -p $out; echo 'kernel ${version} in name only' >$out/bzImage";
      kernelAtLeast = lib.versionAtLeast version;
      kernelOlder = lib.versionOlder version;
    }
    // extra;
in
rec {
  linuxPackages = packagesFor "6.18.1" { };
  linuxPackages_latest = packagesFor "6.19.0" { };
  linuxPackages_6_12 = packagesFor "6.12.60" { };
  linuxPackagesFor = kernel: packagesFor kernel.version { inherit kernel; };
  linux = linuxPackages.kernel;
}
