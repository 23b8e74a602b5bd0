# What a machine of a test is, whatever the test says of it: Debian's programs find their files, and what a slow emulation pays dearly
# for is left out.
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
  # Paths that are compiled into Debian's programs.
  system.activationScripts.debian-paths = {
    deps = [ "specialfs" ];
    text = ''
      mkdir -p /run/sshd /usr/bin /usr/lib/${triplet} /usr/libexec /usr/sbin /usr/share /bin /lib
      ln -sfnT ${pkgs.coreutils}/bin/cat /bin/cat
      ln -sfnT ${config.systemd.package}/lib/systemd /usr/lib/systemd
      ln -sfnT ${config.systemd.package}/lib/udev /usr/lib/udev
      ln -sfnT ${config.systemd.package}/bin/systemd-tmpfiles /usr/bin/systemd-tmpfiles
      ln -sfnT ${pkgs.iptables}/lib/xtables /usr/lib/${triplet}/xtables
      ln -sfnT ${pkgs.openssh}/lib/openssh /usr/lib/openssh
      ln -sfnT ${pkgs.sudo}/libexec/sudo /usr/libexec/sudo
      ln -sfnT ${pkgs.util-linux}/bin/mount /usr/bin/mount
      ln -sfnT ${pkgs.util-linux}/bin/umount /usr/bin/umount
      ln -sfnT /run/wrappers/bin/unix_chkpwd /usr/sbin/unix_chkpwd
      ln -sfnT ${pkgs.tzdata}/share/zoneinfo /usr/share/zoneinfo
      ln -sfnT ${pkgs.glibc}/lib/locale /usr/lib/locale
      ln -sfnT /run/booted-system/kernel-modules/lib/modules /lib/modules
      ln -sfnT /run/booted-system/kernel-modules/lib/modules /usr/lib/modules
      ln -sfnT ${pkgs.git}/lib/git-core /usr/lib/git-core
      ln -sfnT ${pkgs.gnupg}/bin/gpg-agent /usr/bin/gpg-agent
      ln -sfnT ${pkgs.gnupg}/bin/gpgconf /usr/bin/gpgconf
      # The same of programs that were built on the machine of the tests.
      mkdir -p /lib64 /lib/${triplet}
      ln -sfnT ${pkgs.stdenv.cc.bintools.dynamicLinker} /lib64/ld-linux-x86-64.so.2
      ln -sfnT ${pkgs.stdenv.cc.cc.lib}/lib/libc.so.6 /lib/${triplet}/libc.so.6
    '';
  };

  boot.initrd.includeDefaultModules = false;
  # Debian's busybox has none of these.
  boot.initrd.extraUtilsCommands = ''
    copy_bin_and_libs ${pkgs.util-linux}/bin/fsck
    copy_bin_and_libs ${pkgs.procps}/bin/pgrep
  '';
  boot.kernelParams = lib.mkAfter [
    # The default one is given up after a while of emulation, and once a boot hung on that; `tsc` runs too fast.
    "clocksource=hpet"
    "mitigations=off"
    # A machine that waits for the processor is not locked up.
    "nowatchdog"
  ];
  boot.initrd.kernelModules = lib.mkForce [
    "virtio_balloon"
    "virtio_rng"
  ];
  services.journald.extraConfig = lib.mkAfter "MaxLevelConsole=notice";
  # A manager of units for each login takes ten seconds.
  security.pam.services.sshd.startSession = lib.mkForce false;
  console.enable = false;
  services.lvm.enable = false;
  boot.bcache.enable = false;
  networking.dhcpcd.enable = lib.mkForce false;
  # Starved of the processor, a machine is slow and not broken.
  systemd.extraConfig = lib.mkAfter ''
    DefaultTimeoutStartSec=1800
    DefaultDeviceTimeoutSec=1800
    DefaultTimeoutStopSec=600
  '';
  boot.loader.grub.enable = lib.mkDefault false;
  # The store as an image: each file of 9p is several waits for the machine outside.
  virtualisation.useNixStoreImage = lib.mkDefault (!config.virtualisation.useBootLoader);
  virtualisation.writableStore = lib.mkDefault true;

  # Rules are tried as they are built in a kernel that is a library, which Debian has not.
  networking.nftables.checkRuleset = false;
  virtualisation.docker.enable = lib.mkForce false;
  services.nomad.enableDocker = lib.mkForce false;
  services.openssh.settings.PerSourcePenalties = "no";
  nix.settings = {
    substituters = lib.mkForce [ ];
    sandbox = false;
  };
  nix.channel.enable = false;
  nixpkgs.flake = {
    setNixPath = false;
    setFlakeRegistry = false;
  };

  documentation.enable = lib.mkForce false;
  boot.enableContainers = false;
  environment.defaultPackages = lib.mkForce [ ];
  environment.stub-ld.enable = false;
  fonts.fontconfig.enable = false;
  i18n.defaultLocale = "C.UTF-8";
  i18n.supportedLocales = [ "C.UTF-8/UTF-8" ];
  programs.command-not-found.enable = false;
  programs.less.lessopen = null;
  programs.nano.enable = false;
  services.logrotate.enable = false;
  services.udisks2.enable = lib.mkForce false;
  services.fstrim.enable = lib.mkForce false;
  services.timesyncd.enable = lib.mkForce false;
  system.disableInstallerTools = true;
  systemd.oomd.enable = false;
  systemd.shutdownRamfs.enable = false;
  systemd.coredump.enable = false;
  xdg.autostart.enable = false;
  xdg.icons.enable = false;
  xdg.menus.enable = false;
  xdg.mime.enable = false;
  xdg.sounds.enable = false;
}
