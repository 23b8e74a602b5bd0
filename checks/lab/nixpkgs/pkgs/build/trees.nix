# Trees of links, and files for manuals and shells.
{ final, ... }:
{
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
  installShellFiles = final.runCommand "install-shell-files" { } ''
    mkdir -p $out/bin
    install -m 555 ${./completion.sh} $out/bin/installShellCompletion
    install -m 555 ${./manual.sh} $out/bin/installManPage
  '';
}
