# Files and scripts made from text.
{ lib, final }:
rec {
  writeTextFile =
    {
      name,
      text,
      executable ? false,
      destination ? "",
      checkPhase ? "",
      meta ? { },
      passthru ? { },
      derivationArgs ? { },
      ...
    }:
    final.stdenv.mkDerivation (
      {
        inherit name text passthru;
        passAsFile = [ "text" ];
        meta =
          lib.optionalAttrs (executable && lib.hasPrefix "/bin/" destination) {
            mainProgram = baseNameOf destination;
          }
          // meta;
        target = destination;
        inherit checkPhase;
        buildCommand = ''
          target=$out$target
          mkdir -p "$(dirname "$target")"
          cp "$textPath" "$target"
          ${lib.optionalString executable "chmod +x \"$target\""}
          eval "$checkPhase"
        '';
      }
      // derivationArgs
    );
  writeText = name: text: writeTextFile { inherit name text; };
  writeScript =
    name: text:
    writeTextFile {
      inherit name text;
      executable = true;
    };
  writeScriptBin =
    name: text:
    writeTextFile {
      inherit name text;
      executable = true;
      destination = "/bin/${name}";
    };
  checkShell = ''/bin/bash -n -O extglob "$target"'';
  writeShellScript =
    name: text:
    writeTextFile {
      inherit name;
      executable = true;
      text = "#!${final.runtimeShell}\n${text}\n";
      checkPhase = checkShell;
    };
  writeShellScriptBin =
    name: text:
    writeTextFile {
      inherit name;
      executable = true;
      destination = "/bin/${name}";
      text = "#!${final.runtimeShell}\n${text}\n";
      checkPhase = checkShell;
    };
}
