# Adds what virtual machines need to the nodes' packages: kernels, the parts of an initrd, and the programs in ./host-packages.nix.
final: prev:
let
  inherit (prev) lib;
  inherit (prev.stdenv.hostPlatform) system;
  debian = import ../debian.nix { inherit lib system; };
  host =
    (import ../debian.nix {
      inherit lib system;
      set = {
        debs = builtins.fromJSON (builtins.readFile ./host-debs.json);
        definitions = import ./host-packages.nix;
        scripts = [ ./pkgs ];
      };
    }).packages;
  own = debian.packages;
  # The programs in $NOMAD and $CONSUL; ../vm.sh writes the file.
  given = builtins.fromJSON (builtins.readFile ./programs.json);
  programs = lib.mapAttrs (
    name: told:
    debian.package
      (debian.build "${name}-${told.version}" ./pkgs/given.sh {
        inherit name;
        program = builtins.fetchTree told.from;
      })
      {
        pname = name;
        inherit (told) version;
        meta.mainProgram = name;
      }
  ) (if given == null then { } else given);
  empty = debian.package (debian.build "left-out" ../pkgs/empty.sh { }) { pname = "left-out"; };

  # `linux-image-amd64` depends on the package of the newest kernel, whose name has the version.
  kernel =
    flavour:
    let
      pattern = "linux-image-[0-9].*[0-9]-${flavour}";
      found = lib.findFirst (name: builtins.match pattern name != null) (throw "no kernel ${flavour}") (
        lib.attrNames debian.debs
      );
      release = lib.removePrefix "linux-image-" found;
      self =
        debian.package
          (debian.build "linux-${release}" ./pkgs/linux-image.sh {
            debs = [ (debian.deb found) ];
            inherit (own) kmod;
          })
          {
            pname = "linux";
            inherit (debian.debs.${found}) version;
            modDirVersion = release;
            features.efiBootStub = true;
            kernelOlder = lib.versionOlder self.version;
            kernelAtLeast = lib.versionAtLeast self.version;
            # Debian's kernels have every feature that NixOS's modules ask for.
            config = lib.genAttrs [
              "isYes"
              "isNo"
              "isModule"
              "isEnabled"
              "isDisabled"
              "isSet"
            ] (_: _: true);
          };
    in
    lib.makeExtensible (_: {
      inherit (final) stdenv;
      kernel = self;
    });
in
programs
// {
  # Nodes in containers do without these (../overlay.nix).
  inherit (own)
    audit
    dosfstools
    e2fsprogs
    lvm2
    ;
  linuxPackages = kernel "amd64";
  linuxPackages_latest = kernel "rt-amd64";
  kmod = own.kmod // {
    lib = debian.libs;
  };
  systemd = prev.systemd // {
    inherit (final) kmod;
  };
  inherit (final.stdenv.cc) bintools;
  mdadm = empty;
  firmwareLinuxNonfree = empty;
  kmod-blacklist-ubuntu =
    debian.package (debian.build "modprobe.conf" ./pkgs/modprobe-conf.sh { })
      { };
  kmod-debian-aliases = debian.list "debian.conf" "";
  xorg = prev.xorg // {
    xwininfo = empty;
  };

  # nixpkgs' scripts have been checked before.
  shellcheck-minimal = empty // {
    compiler = {
      bootstrapAvailable = false;
      meta.platforms = [ ];
    };
  };
  shellcheck = final.shellcheck-minimal;

  inherit (host) erofs-utils;
  qemu_test =
    debian.package
      (debian.build "qemu-test" ./pkgs/qemu-test.sh {
        inherit (host) qemu;
        inherit (own) bash;
      })
      {
        inherit (final) stdenv;
        ga = empty;
        meta.mainProgram = "qemu-kvm";
      };

  python3Packages = prev.python3Packages // {
    # Only nixos/lib/test-driver is made with it.
    buildPythonApplication =
      args:
      debian.package (debian.build "nixos-test-driver" ./pkgs/driver.sh {
        inherit (args) src;
        inherit (own)
          bash
          coreutils
          gnugrep
          gnused
          ;
        inherit (host) vde2 socat;
        python = host.python3;
        qemu = final.qemu_test;
      }) { };
  };

  rustPlatform = prev.rustPlatform // {
    buildRustPackage =
      args:
      debian.package
        (debian.build "${args.pname}-${args.version}" ./pkgs/rust.sh {
          inherit (args) src;
          inherit (debian) libs interpreter;
          program = args.meta.mainProgram or args.pname;
        })
        {
          inherit (args) pname version meta;
        };
  };

  # The stage `nix` checks test scripts, with the stand-in.
  testers = prev.testers // {
    runNixOSTest =
      test:
      prev.testers.runNixOSTest {
        imports = [ test ];
        defaults.imports = [
          ./node.nix
        ]
        # Debian's Consul needs older names of settings; the one in $CONSUL does not.
        ++ lib.optional (!programs ? consul) ../consul.nix;
        skipTypeCheck = true;
        skipLint = true;
        # checks/run has a shorter limit.
        globalTimeout = 4 * 60 * 60;
      };
  };
}
