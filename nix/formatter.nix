# `nix fmt` formats Nix files in RFC 166 style and Rust files by rustfmt; `nix fmt -- --check` changes nothing.
{ pkgs }:
pkgs.writeShellScriptBin "nixcfg-fmt" ''
  set -euo pipefail
  check=
  if [ "''${1:-}" = --check ]; then check=--check; shift; fi
  ${pkgs.git}/bin/git ls-files -z --cached --others --exclude-standard -- '*.nix' |
    ${pkgs.findutils}/bin/xargs -0 ${pkgs.nixfmt}/bin/nixfmt $check
  ${pkgs.git}/bin/git ls-files -z --cached --others --exclude-standard -- '*.rs' |
    ${pkgs.findutils}/bin/xargs -0 ${pkgs.rustfmt}/bin/rustfmt --edition 2024 $check
''
