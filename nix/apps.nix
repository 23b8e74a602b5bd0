# One app per operation: the same program with that sub-command.
{
  lib,
  pkgs,
  nixcfg,
}:
let
  # These come after the operator's own programs on PATH. The operator's nix fits their daemon and store, and their ssh,
  # gpg and pass know their agents, hardware keys and extensions.
  fallback = lib.makeBinPath [
    pkgs.nix
    pkgs.openssh
    pkgs.pass
    pkgs.gnupg
    pkgs.git
  ];

  app =
    operation: description:
    let
      program = pkgs.writeShellScriptBin "nixcfg-${operation}" ''
        export PATH="''${PATH:+$PATH:}${fallback}"
        exec ${nixcfg}/bin/nixcfg ${operation} "$@"
      '';
    in
    {
      type = "app";
      program = "${program}/bin/nixcfg-${operation}";
      meta = { inherit description; };
    };
in
lib.mapAttrs app (lib.importJSON ../src/operations/descriptions.json)
