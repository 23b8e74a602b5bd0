# One stage: nixpkgs' generic builder with Debian's shell and tools in the store. The machine's compiler builds programs that use the
# libraries in the store.
{
  lib,
  localSystem,
  config,
  overlays,
  ...
}:
let
  source = import ./source.nix;
  debian = import ./debian.nix {
    inherit lib;
    inherit (localSystem) system;
  };

  cc = debian.build "machine-cc" ./pkgs/cc.sh { inherit (debian) libs; } // {
    # A lower bound, for packages that ask.
    version = "12";
    isGNU = true;
    isClang = false;
    targetPrefix = "";
    suffixSalt = "";
    # An initrd takes its libraries from here.
    libc = debian.package debian.libs {
      pname = "glibc";
      inherit (debian.packages.glibc) version;
    };
    libc_dev = debian.packages.glibc;
    cc = cc // {
      lib = debian.libs;
    };
    bintools = cc // {
      bintools = cc;
      isLLVM = false;
      dynamicLinker = debian.interpreter;
      libc = debian.packages.glibc;
    };
    hardeningUnsupportedFlags = [ ];
    nativeTools = false;
    nativeLibc = false;
  };
in
[
  (_: {
    inherit config overlays;
    stdenv = import "${source}/pkgs/stdenv/generic" {
      name = "stdenv-debian";
      inherit config cc;
      buildPlatform = localSystem;
      hostPlatform = localSystem;
      targetPlatform = localSystem;
      shell = "${debian.packages.bash}/bin/bash";
      initialPath = lib.attrVals [
        "coreutils"
        "findutils"
        "diffutils"
        "gnused"
        "gnugrep"
        "gawk"
        "gnutar"
        "gzip"
        "bzip2"
        "xz"
        "bash"
        "gnupatch"
        "gnumake"
        "file"
      ] debian.packages;
      extraNativeBuildInputs = [ debian.packages.patchelf ];
      fetchurlBoot = import "${source}/pkgs/build-support/fetchurl/boot.nix" {
        inherit (localSystem) system;
      };
    };
  })
]
