# A stand-in for nixpkgs, for machines that cannot download it. Use it as
#   nix … --override-input nixpkgs path:checks/lab/nixpkgs
#
# It has `lib` and the module system, written for this project and compared with the genuine ones by ./test; the NixOS
# options that a cluster's modules use, with their genuine names and types; and systems and packages for a Debian
# machine. A system's switch-to-configuration applies /etc, users, sudo, sshd and systemd units. A package's programs
# are those of the machine that runs them.
#
# Each module names the files of nixpkgs that it follows, and ./test checks that they exist. The release is 24.11, and
# 26.05 (Swarsel/nixpkgs@4aa6836a648c, of shortly after the branch-off; switch-to-configuration-ng of
# nh2/nixpkgs@3ecd6e802246) for defaults and options that are newer; tests/lib/newer-options lists these.
#
# Its limits:
# - It has only what this project uses; any other name is an error, also if genuine nixpkgs has it.
# - It builds no software but the project's own, and does not pin programs.
# - It has no kernel, boot loader, initrd or disk, and leaves a node's addresses, Debian's accounts and its running
#   nix-daemon alone.
# - Services other than sshd, sudo, journald, the firewall (by nft) and Nix run only if the node has their program.
#   Every switch names those that do not run, and the settings that are not applied (nixos/modules/not-applied.nix).
# - Tests in virtual machines are evaluated, not run.
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
