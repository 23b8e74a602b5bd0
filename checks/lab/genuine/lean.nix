# Settings of lab nodes and of virtual machines: Debian's programs find their files, and the system leaves out what no test needs, as it
# is copied to each machine.
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
      mkdir -p /bin /run/sshd /usr/bin /usr/lib/${triplet} /usr/libexec /usr/sbin /usr/share
      ln -sfnT ${pkgs.coreutils}/bin/cat /bin/cat
      ln -sfnT ${config.systemd.package}/lib/systemd /usr/lib/systemd
      ln -sfnT ${config.systemd.package}/bin/systemd-tmpfiles /usr/bin/systemd-tmpfiles
      ln -sfnT ${pkgs.iptables}/lib/xtables /usr/lib/${triplet}/xtables
      ln -sfnT ${pkgs.openssh}/lib/openssh /usr/lib/openssh
      ln -sfnT ${pkgs.sudo}/libexec/sudo /usr/libexec/sudo
      ln -sfnT ${pkgs.util-linux}/bin/mount /usr/bin/mount
      ln -sfnT ${pkgs.util-linux}/bin/umount /usr/bin/umount
      ln -sfnT /run/wrappers/bin/unix_chkpwd /usr/sbin/unix_chkpwd
      ln -sfnT ${pkgs.tzdata}/share/zoneinfo /usr/share/zoneinfo
      ln -sfnT ${pkgs.glibc}/lib/locale /usr/lib/locale
    '';
  };

  # Tests fail logins on purpose, all from one address.
  services.openssh.settings.PerSourcePenalties = "no";
  # The network has no DHCP server.
  networking.dhcpcd.enable = lib.mkForce false;
  services.timesyncd.enable = lib.mkForce false;

  # NixOS checks the rules by LKL, a kernel as a library, which Debian has not.
  networking.nftables.checkRuleset = false;

  # There is no package of Docker.
  virtualisation.docker.enable = lib.mkForce false;
  services.nomad.enableDocker = lib.mkForce false;

  # There is no binary cache, and Debian's Nix cannot sandbox a build in a container.
  nix.settings = {
    substituters = lib.mkForce [ ];
    sandbox = false;
  };
  nix.channel.enable = false;
  # Otherwise each system contains nixpkgs, 400 MB.
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
