# Nix packages made from Debian's. Each is a plain derivation that the machine's own programs build, without nixpkgs.
{
  lib,
  system,
  set ? import ./set.nix,
}:
let
  inherit (set) debs definitions;

  deb =
    name:
    let
      told = debs.${name} or (throw "the Debian package ${name} is not in the lab's cache");
    in
    derivation {
      inherit system;
      name = "${name}.deb";
      builder = "/bin/sh";
      args = [
        "-c"
        ''/bin/cp "$file" "$out"''
      ];
      inherit (told) file;
      outputHashMode = "flat";
      outputHashAlgo = "sha256";
      outputHash = told.sha256;
    };

  # Tests in virtual machines refer to programs for i686, which nothing builds.
  loader =
    {
      i686-linux = "ld-linux.so.2";
      x86_64-linux = "ld-linux-x86-64.so.2";
      aarch64-linux = "ld-linux-aarch64.so.1";
    }
    .${system};
  triplet =
    {
      i686-linux = "i386-linux-gnu";
      x86_64-linux = "x86_64-linux-gnu";
      aarch64-linux = "aarch64-linux-gnu";
    }
    .${system};

  # A derivation that a script of pkgs/ builds.
  build =
    name: script: more:
    derivation (
      {
        inherit
          system
          name
          loader
          triplet
          ;
        builder = "/bin/bash";
        args = [
          "-euo"
          "pipefail"
          "-c"
          ''
            export PATH=/usr/sbin:/usr/bin:/sbin:/bin
            source ${./pkgs/functions.sh}
            source ${script}
          ''
        ];
      }
      // lib.optionalAttrs (more ? libs) { interpreter = "${more.libs}/lib/${loader}"; }
      // more
    );

  # A file with a text.
  list = name: text: build name ./pkgs/list.sh { inherit text; };

  # One path has the libraries of all programs. A library that a package lists itself is in that package alone.
  own = lib.concatMap (definition: definition.debs) (lib.attrValues definitions);
  libs = build "debian-libraries" ./pkgs/libraries.sh {
    debs = map deb (
      lib.filter (name: (lib.hasPrefix "lib" name || name == "zlib1g") && !lib.elem name own) (
        lib.attrNames debs
      )
    );
  };

  make =
    name: definition:
    let
      version = debs.${lib.head definition.debs}.version;
      mainProgram = definition.program or name;
      built = build "${name}-${version}" ./pkgs/package.sh (
        {
          inherit libs;
          debs = map deb definition.debs;
          special = lib.concatMapStrings (path: builtins.path { inherit path; }) (
            lib.filter builtins.pathExists (map (folder: folder + "/${name}.sh") set.scripts)
          );
          shell = lib.optionalString (name != "bash") "${packages.bash}/bin";
        }
        // lib.mapAttrs (_: other: packages.${other}) (definition.uses or { })
        // definition.environment or { }
      );
    in
    package built {
      pname = name;
      inherit version;
      meta = {
        inherit name;
        description = "Debian's ${name}";
        available = true;
        badPlatforms = [ ];
        platforms = [ system ];
      }
      // lib.optionalAttrs (mainProgram != null) { inherit mainProgram; };
      try = definition.try or "--version";
    };

  # Adds what nixpkgs expects of a package: outputs, which are all the same, and functions that override it, which change nothing.
  package =
    built: more:
    let
      self =
        built
        // lib.genAttrs [
          "out"
          "bin"
          "lib"
          "dev"
          "man"
          "doc"
          "info"
          "static"
        ] (_: self)
        // {
          outputs = [ "out" ];
          override = _: self;
          overrideAttrs = _: self;
          overrideDerivation = _: self;
        }
        // more;
    in
    self;

  packages = lib.mapAttrs make definitions;
in
{
  inherit
    build
    deb
    debs
    list
    package
    packages
    libs
    loader
    ;
  interpreter = "${libs}/lib/${loader}";
}
