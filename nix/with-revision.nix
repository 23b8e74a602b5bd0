# The program, and the revision that `nixcfg --version` tells. The program's own derivation does not have it, so a commit
# does not rebuild the program.
{
  lib,
  pkgs,
  program,
  # Null if it is not known.
  revision,
}:
pkgs.runCommand program.name
  {
    inherit (program) meta;
    preferLocalBuild = true;
    passthru = { inherit program; };
  }
  ''
    mkdir -p $out/bin
    [ ! -e ${program}/share ] || ln -s ${program}/share $out/share
    cat >$out/bin/nixcfg <<'END'
    #!${pkgs.runtimeShell}
    export NIXCFG_REVISION=${lib.escapeShellArg (if revision == null then "" else revision)}
    # The program shows its own name in commands. As a script, it has been given its path.
    case $0 in
    /nix/store/*) name=$0 ;;
    *) name=nixcfg ;;
    esac
    exec -a "$name" ${program}/bin/nixcfg "$@"
    END
    chmod +x $out/bin/nixcfg
  ''
