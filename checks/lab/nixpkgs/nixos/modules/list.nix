# The modules of every system.
[
  ./activation.nix
  ./boot.nix
  ./core.nix
  ./environment.nix
  ./etc.nix
  ./firewall.nix
  ./networking.nix
  ./nix.nix
  ./nixpkgs.nix
  ./openssh.nix
  ./services.nix
  ./sudo.nix
  ./systemd.nix
  ./toplevel.nix
  ./users.nix
]
