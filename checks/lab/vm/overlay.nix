# What tests in virtual machines need beside nodes' packages: a kernel, what an initrd is made of, and the programs of the machine
# that they run on, which have libraries of their own.
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
  # Programs that are given by path; written by ../vm.sh.
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

  # A name like `linux-image-amd64` is one for the newest: the package that it stands for has the kernel's version in its own.
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
            # Debian's kernels have what modules of NixOS ask for.
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

  # Scripts of nixpkgs are not checked again.
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
    # nixos/lib/test-driver is all that is made with it.
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
        inherit (host) vde2 socat python;
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
          program = args.meta.mainProgram;
        })
        {
          inherit (args) pname version meta;
        };
  };

  # Test scripts are checked by the stage `nix`, with the stand-in.
  testers = prev.testers // {
    runNixOSTest =
      test:
      prev.testers.runNixOSTest {
        imports = [ test ];
        defaults.imports = [
          ./node.nix
        ]
        # The newest Consul of Debian speaks otherwise than that of NixOS; one that was given does not.
        ++ lib.optional (!programs ? consul) ../consul.nix;
        skipTypeCheck = true;
        skipLint = true;
        # checks/run has a limit.
        globalTimeout = 4 * 60 * 60;
      };
  };
}
