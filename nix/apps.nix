# One app an operation: the same program with its sub-command.
{
  lib,
  pkgs,
  nixcfg,
}:
let
  # Behind what the operator has, not before it. Their own nix speaks to their own daemon and store, so its version and
  # settings are the right ones; their own ssh, gpg and pass know their agents, hardware keys and extensions. These are
  # for the machine that lacks one.
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
