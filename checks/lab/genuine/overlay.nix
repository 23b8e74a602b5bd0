# Replaces nixpkgs' packages by Debian's.
final: prev:
let
  inherit (prev) lib;
  debian = import ./debian.nix {
    inherit lib;
    inherit (prev.stdenv.hostPlatform) system;
  };
  own = debian.packages;
  alias = debian.package;

  # For packages in every NixOS system that nothing starts.
  empty = debian.package (debian.build "left-out" ./pkgs/empty.sh { }) {
    pname = "left-out";
    meta.mainProgram = "none";
  };

  # For packages that modules name but no system of the lab uses. Their build fails with a message.
  absent = name: debian.package (debian.build name ./pkgs/absent.sh { }) { pname = name; };

  # For programs that are in no package registry. They fail with a message when their unit starts.
  elsewhere =
    name:
    debian.package (debian.build name ./pkgs/elsewhere.sh { inherit (own) bash; }) {
      pname = name;
      version = "0";
      meta.mainProgram = name;
    };
in
own
// lib.genAttrs [
  "fish"
  "xonsh"
  "zsh"
] absent
// lib.genAttrs [
  "audit"
  "bash-completion"
  "bcache-tools"
  "dosfstools"
  "e2fsprogs"
  "host"
  "kexec-tools"
  "mailcap"
  "man-db"
  "nano"
  "nix-bash-completions"
  "nix-info"
  "nixos-rebuild"
] (_: empty)
// {
  nomad = elsewhere "nomad";

  # See wireguard.nix: there are no peers to find.
  wgautomesh = debian.package (debian.build "wgautomesh" ./pkgs/wgautomesh.sh {
    inherit (own) bash coreutils;
  }) { meta.mainProgram = "wgautomesh"; };

  # There is one C library, and every package exists once.
  pkgsStatic = final;
  pkgsMusl = final;

  bash = alias own.bash { shellPath = "/bin/bash"; };
  bashInteractive = final.bash;
  bashNonInteractive = final.bash;
  coreutils-full = own.coreutils;
  cacert = alias own.cacert { p11kit = own.cacert; };
  kbd = alias own.kbd { inherit (own) gzip; };
  getent = own.glibc;
  getconf = own.glibc;
  glibcLocales = own.glibc;
  glibcLocalesUtf8 = own.glibc;
  hostname = own.hostname-debian;
  inetutils = own.hostname-debian;
  nettools = own.hostname-debian;
  iptables-legacy = own.iptables;
  netcat-gnu = own.netcat;
  libressl = own.netcat;
  lvm2 = own.util-linux;
  openssh_gssapi = own.openssh;
  pam = own.linux-pam;
  su = own.util-linux;
  util-linuxMinimal = own.util-linux;
  utillinux = own.util-linux;
  nixVersions = prev.nixVersions // {
    stable = own.nix;
    latest = own.nix;
  };
  systemdMinimal = final.systemd;
  udev = final.systemd;

  shadow = alias own.shadow {
    su = own.util-linux;
    shellPath = "/bin/nologin";
  };

  libxcrypt = debian.package debian.libs {
    # The schemes that crypt(5) calls strong.
    enabledCryptSchemeIds = [
      "y"
      "gy"
      "7"
      "2b"
      "2y"
      "2a"
      "6"
    ];
  };

  # It has all modules that NixOS's scripts use.
  perl = alias own.perl { withPackages = _: own.perl; };

  systemd = alias own.systemd (
    {
      inherit (own) kmod;
      inherit (final) kbd;
      util-linux = own.util-linux;
      interfaceVersion = 2;
    }
    // lib.genAttrs [
      "withBootloader"
      "withCryptsetup"
      "withEfi"
      "withImportd"
      "withLocaled"
      "withMachined"
      "withPortabled"
      "withSysupdate"
      "withTimesyncd"
      "withTpm2Tss"
      "withUtmp"
      "withUkify"
      "withHomed"
    ] (_: false)
    // {
      withHostnamed = true;
      withNetworkd = true;
      withTimedated = true;
    }
  );

  fuse = own.fuse3;
  remarshal = debian.package (debian.build "json2toml" ./pkgs/json2toml.sh {
    inherit (own) bash jq;
  }) { };
  xorg = prev.xorg // {
    xauth = empty;
    lndir = debian.package (debian.build "lndir" ./pkgs/lndir.sh { }) { meta.mainProgram = "lndir"; };
  };

  # nixpkgs' security wrapper reads the header from glibc's source; pkgs/unsecvars.sh writes it from ld.so(8).
  srcOnly =
    package:
    if package.pname or "" == "glibc" then
      debian.package (debian.build "unsecvars" ./pkgs/unsecvars.sh { }) { name = "unsecvars"; }
    else
      prev.srcOnly package;
  linuxHeaders = own.glibc;

  switch-to-configuration-ng = debian.package (debian.build "switch-to-configuration"
    ./pkgs/switch-to-configuration.sh
    {
      # As a path of its own, because each evaluation would copy all of nixpkgs for it.
      source = final.path + "/pkgs/by-name/sw/switch-to-configuration-ng";
      inherit (debian) libs;
      inherit (own) systemd;
      inherit (debian) interpreter;
    }
  ) { meta.mainProgram = "switch-to-configuration"; };
}
