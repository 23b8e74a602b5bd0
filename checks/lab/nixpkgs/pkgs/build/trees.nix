# Trees of links, and wrappers.
{ lib, final }:
rec {
  linkFarm =
    name: entries:
    let
      list =
        if lib.isAttrs entries then
          lib.mapAttrsToList (path: target: {
            name = path;
            path = target;
          }) entries
        else
          entries;
    in
    final.runCommand name
      { passthru.entries = lib.listToAttrs (map (e: lib.nameValuePair e.name e.path) list); }
      (
        "mkdir -p $out\ncd $out\n"
        + lib.concatMapStrings (entry: ''
          mkdir -p "$(dirname -- ${lib.escapeShellArg entry.name})"
          ln -s ${lib.escapeShellArg "${entry.path}"} ${lib.escapeShellArg entry.name}
        '') list
      );
  linkFarmFromDrvs =
    name: packages:
    linkFarm name (
      map (p: {
        inherit (p) name;
        path = p;
      }) packages
    );
  symlinkJoin =
    {
      name ? "${pname}-${version}",
      pname ? null,
      version ? null,
      paths,
      postBuild ? "",
      preferLocalBuild ? true,
      allowSubstitutes ? false,
      ...
    }@args:
    final.runCommand name
      (
        removeAttrs args [
          "name"
          "pname"
          "version"
          "postBuild"
        ]
        // {
          inherit paths;
        }
      )
      ''
        mkdir -p $out
        for one in $paths; do
          [ -d "$one" ] && cp -rsn --no-preserve=mode "$(readlink -f "$one")/." $out/
        done
        ${postBuild}
      '';
  buildEnv =
    {
      name,
      paths,
      pathsToLink ? [ "/" ],
      postBuild ? "",
      ...
    }:
    final.runCommand name { inherit paths pathsToLink; } ''
      mkdir -p $out
      for one in $paths; do
        for part in $pathsToLink; do
          [ -d "$one$part" ] || continue
          mkdir -p "$out$part"
          cp -rsn --no-preserve=mode "$(readlink -f "$one$part")/." "$out$part/"
        done
      done
      ${postBuild}
    '';
  # makeWrapper's and wrapProgram's flags that are used: --prefix, --suffix, --set, --set-default, --unset,
  # --add-flags, --run, --chdir, --inherit-argv0; others stop the build.
  makeWrapper = final.runCommand "make-wrapper" { } ''
    mkdir -p $out/bin
    install -m 555 ${./wrap.sh} $out/bin/makeWrapper
    install -m 555 ${./wrap.sh} $out/bin/wrapProgram
  '';
  makeBinaryWrapper = makeWrapper;
  makeShellWrapper = makeWrapper;
  installShellFiles = final.runCommand "install-shell-files" { } ''
    mkdir -p $out/bin
    install -m 555 ${./completion.sh} $out/bin/installShellCompletion
    install -m 555 ${./manual.sh} $out/bin/installManPage
  '';
}
