# `nix fmt`: every Nix file in RFC 166 style, every Rust file by rustfmt; `nix fmt -- --check` only looks.
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
