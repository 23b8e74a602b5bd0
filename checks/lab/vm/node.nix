# Settings of every machine of a test, beside those of lab nodes: more paths of Debian's programs, and without what is slow in an emulated
# machine.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  triplet = "${pkgs.stdenv.hostPlatform.parsed.cpu.name}-linux-gnu";
in
{
  imports = [
    ../lean.nix
    ./initrd.nix
  ];

  system.activationScripts.debian-paths-of-machines = {
    deps = [ "debian-paths" ];
    text = ''
      mkdir -p /lib
      ln -sfnT ${config.systemd.package}/lib/udev /usr/lib/udev
      ln -sfnT /run/booted-system/kernel-modules/lib/modules /lib/modules
      ln -sfnT /run/booted-system/kernel-modules/lib/modules /usr/lib/modules
      ln -sfnT ${pkgs.git}/lib/git-core /usr/lib/git-core
      ln -sfnT ${pkgs.gnupg}/bin/gpg-agent /usr/bin/gpg-agent
      ln -sfnT ${pkgs.gnupg}/bin/gpgconf /usr/bin/gpgconf
      # For programs that were built on this machine.
      mkdir -p /lib64 /lib/${triplet}
      ln -sfnT ${pkgs.stdenv.cc.bintools.dynamicLinker} /lib64/ld-linux-x86-64.so.2
      ln -sfnT ${pkgs.stdenv.cc.cc.lib}/lib/libc.so.6 /lib/${triplet}/libc.so.6
    '';
  };

  boot.initrd.includeDefaultModules = false;
  # Debian's busybox lacks these.
  boot.initrd.extraUtilsCommands = lib.mkIf (!config.boot.initrd.systemd.enable) ''
    copy_bin_and_libs ${pkgs.util-linux}/bin/fsck
    copy_bin_and_libs ${pkgs.procps}/bin/pgrep
    copy_bin_and_libs ${pkgs.procps}/bin/pkill
  '';
  boot.kernelParams = lib.mkAfter [
    # Under emulation Linux 6.12 gives up its default clock source after a while, at which a boot once hung; `tsc` runs too fast.
    "clocksource=hpet"
    "mitigations=off"
    # A machine that waits for the processor would count as locked up.
    "nowatchdog"
  ];
  boot.initrd.kernelModules = lib.mkForce [
    "virtio_balloon"
    "virtio_rng"
  ];
  services.journald.extraConfig = lib.mkAfter "MaxLevelConsole=notice";
  # A login would start a user manager, which takes ten seconds.
  security.pam.services.sshd.startSession = lib.mkForce false;
  console.enable = false;
  services.lvm.enable = lib.mkDefault (config.boot.initrd.luks.devices != { });
  boot.bcache.enable = false;
  # A machine that waits long for the processor is slow, not broken.
  systemd.extraConfig = lib.mkAfter ''
    DefaultTimeoutStartSec=1800
    DefaultDeviceTimeoutSec=1800
    DefaultTimeoutStopSec=600
  '';
  boot.loader.grub.enable = lib.mkDefault false;
  # The store is an image, because a machine waits several times for each file that it reads by 9p.
  virtualisation.useNixStoreImage = lib.mkDefault (!config.virtualisation.useBootLoader);
  virtualisation.writableStore = lib.mkDefault true;
}
