# Files and scripts out of text.
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
  writeTextDir =
    path: text:
    writeTextFile {
      inherit text;
      name = baseNameOf path;
      destination = "/${path}";
    };
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
  # Checked with the machine's shellcheck where it has one.
  writeShellApplication =
    {
      name,
      text,
      runtimeInputs ? [ ],
      runtimeEnv ? null,
      meta ? { },
      passthru ? { },
      checkPhase ? null,
      excludeShellChecks ? [ ],
      extraShellCheckFlags ? [ ],
      bashOptions ? [
        "errexit"
        "nounset"
        "pipefail"
      ],
      inheritPath ? true,
      derivationArgs ? { },
    }:
    writeTextFile {
      inherit
        name
        meta
        passthru
        derivationArgs
        ;
      executable = true;
      destination = "/bin/${name}";
      text =
        "#!${final.runtimeShell}\n"
        + lib.concatMapStrings (option: "set -o ${option}\n") bashOptions
        + lib.optionalString (runtimeEnv != null) (
          lib.concatStrings (
            lib.mapAttrsToList (key: value: "${lib.toShellVar key value}\nexport ${key}\n") runtimeEnv
          )
        )
        + lib.optionalString (
          runtimeInputs != [ ]
        ) "\nexport PATH=\"${lib.makeBinPath runtimeInputs}${lib.optionalString inheritPath ":$PATH"}\"\n"
        + "\n${text}\n";
      checkPhase =
        if checkPhase != null then
          checkPhase
        else
          ''
            ${checkShell}
            if command -v shellcheck >/dev/null; then
              shellcheck ${
                lib.escapeShellArgs (
                  lib.optional (excludeShellChecks != [ ]) "--exclude=${lib.concatStringsSep "," excludeShellChecks}"
                  ++ extraShellCheckFlags
                )
              } "$target"
            fi
          '';
    };
  concatText = name: files: final.runCommand name { inherit files; } "cat $files >$out";
  concatTextFile = { name, files, ... }: concatText name files;
  writers = {
    writeBash = writeShellScript;
    writeBashBin = writeShellScriptBin;
    writeJSON = name: value: writeText name (lib.toJSON value);
  };
}
