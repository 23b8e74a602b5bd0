# Kernels in name only: a node of the lab runs the machine's. A new version asks for a restart.
{ final, ... }:
let
  packagesFor = version: {
    kernel = final.runCommand "linux-${version}" {
      pname = "linux";
      inherit version;
    } "mkdir -p $out; echo 'kernel ${version} in name only' >$out/bzImage";
  };
in
{
  linuxPackages = packagesFor "6.18.1";
  linuxPackages_latest = packagesFor "6.19.0";
}
