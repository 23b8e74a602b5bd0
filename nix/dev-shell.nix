# What a developer of the tool or an operator of a cluster needs on PATH.
{ pkgs }:
pkgs.mkShell {
  packages = [
    pkgs.cargo
    pkgs.rustc
    pkgs.clippy
    pkgs.rustfmt
    pkgs.rust-analyzer

    pkgs.nix
    pkgs.nixfmt
    pkgs.openssh
    pkgs.git
    pkgs.pass
    pkgs.gnupg
    pkgs.openssl

    pkgs.consul
    pkgs.nomad
  ];
}
