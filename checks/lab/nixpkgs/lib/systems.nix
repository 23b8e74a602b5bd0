# The platforms that the project supports: two kernels, two processors.
{ lib }:
rec {
  flakeExposed = [
    "x86_64-linux"
    "aarch64-linux"
    "x86_64-darwin"
    "aarch64-darwin"
  ];
  doubles = {
    all = flakeExposed;
    linux = lib.filter (lib.hasSuffix "-linux") flakeExposed;
    darwin = lib.filter (lib.hasSuffix "-darwin") flakeExposed;
    unix = flakeExposed;
    x86_64 = lib.filter (lib.hasPrefix "x86_64-") flakeExposed;
    aarch64 = lib.filter (lib.hasPrefix "aarch64-") flakeExposed;
  };
  groups = doubles;
  supported.hydra = flakeExposed;
  elaborate =
    given:
    let
      system = if lib.isString given then given else given.system;
      part = lib.splitString "-" system;
      processor = lib.head part;
      kernel = lib.last part;
    in
    if lib.isAttrs given && given ? isLinux then
      given
    else if !lib.elem system flakeExposed then
      throw "lib.systems.elaborate: the stand-in knows no system ${system}"
    else
      rec {
        inherit system;
        config =
          if kernel == "linux" then "${processor}-unknown-linux-gnu" else "${processor}-apple-darwin";
        isLinux = kernel == "linux";
        isDarwin = kernel == "darwin";
        isUnix = true;
        isx86_64 = processor == "x86_64";
        isx86 = isx86_64;
        isAarch64 = processor == "aarch64";
        isAarch = isAarch64;
        is64bit = true;
        isStatic = false;
        isMusl = false;
        linuxArch = if isx86_64 then "x86_64" else "arm64";
        parsed = {
          cpu.name = processor;
          kernel.name = kernel;
        };
        rust.rustcTarget = config;
        rust.rustcTargetSpec = config;
        canExecute = other: other.system == system;
        __toString = self: self.system;
      };
}
