# A stand-in for nixpkgs, for machines that cannot download it: use it as
#   nix … --override-input nixpkgs path:checks/lab/nixpkgs
#
# What it is: `lib` and the module system (written for this project, tested against the genuine ones by ./test),
# the NixOS options that a cluster's modules use, with their genuine names and types, and systems and packages that
# are real on a Debian machine: a toplevel whose switch-to-configuration applies /etc, users, sudo, sshd and systemd
# units, and packages whose programs are the building machine's own.
#
# Each module names the files of nixpkgs that it follows: in 24.11, and in 26.05 (Swarsel/nixpkgs@4aa6836a648c, of
# shortly after the branch-off; switch-to-configuration-ng in nh2/nixpkgs@3ecd6e802246) where that has other defaults
# and options, which tests/lib/newer-options lists: switch inhibitors, what pre-switch checks are given, a firewall
# that logs nothing. ./test looks that these files exist.
#
# What it does not do: it builds no software but the project's own; it has no kernel, bootloader, initrd or disk, and
# leaves a node's addresses alone; services other than sshd, sudo, journald, the firewall (by nft) and Nix run where a
# node has their program, and every switch names those that do not; what a configuration sets and is not applied is
# listed by every switch as well (nixos/modules/not-applied.nix); programs are not pinned; VM tests evaluate and do
# not run; Debian's own accounts stay, and its nix-daemon is not restarted. A name that it does not know is an error,
# also where genuine nixpkgs has it. Nothing outside checks/ knows of it.
{
  description = "Stand-in for nixpkgs on machines without network";

  outputs =
    { self }:
    let
      base = import ./lib;
      lib = base.extend (
        _: _: {
          nixosSystem =
            args:
            import ./nixos (
              {
                inherit lib;
                system = null;
              }
              // args
            );
          nixos.evalModules = args: lib.evalModules ({ class = "nixos"; } // args);
        }
      );
      forAll = lib.genAttrs lib.systems.flakeExposed;
    in
    {
      inherit lib;
      legacyPackages = forAll (system: import ./. { inherit system; });
    };
}
