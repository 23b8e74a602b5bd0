# What a node of the lab is, whatever its cluster's files say of the machine: a container whose kernel, disk and cable the lab
# gives. What else a server needs is as NixOS makes it; what it does without is at the end.
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
    ./consul.nix
    ./wireguard.nix
  ];

  # After the options: `nixpkgs.config` and `nixpkgs.overlays` go into this set as into nixpkgs' own.
  _module.args.pkgs = lib.mkForce (
    import ./. {
      localSystem = config.nixpkgs.hostPlatform;
      inherit (config.nixpkgs) config overlays;
    }
  );

  boot = {
    isContainer = true;
    loader.systemd-boot.enable = lib.mkForce false;
    loader.grub.enable = lib.mkForce false;
    loader.efi.canTouchEfiVariables = lib.mkForce false;
  };
  fileSystems = lib.mkForce { };
  swapDevices = lib.mkForce [ ];

  # The lab's boot loader: the next boot is of the system whose path is in this file.
  system.build.installBootLoader = lib.mkForce (
    pkgs.writeShellScript "install-lab-boot-loader" ''
      set -eu
      ${pkgs.coreutils}/bin/mkdir -p /boot
      echo "$1" >/boot/default.new
      ${pkgs.coreutils}/bin/sync /boot/default.new
      ${pkgs.coreutils}/bin/mv /boot/default.new /boot/default
    ''
  );

  # Paths that are compiled into Debian's programs: the one trait of a node that is not NixOS's.
  system.activationScripts.debian-paths = {
    deps = [ "specialfs" ];
    text = ''
      mkdir -p /run/sshd /usr/bin /usr/lib/${triplet} /usr/libexec /usr/sbin /usr/share
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

  # The one cable has the names of all interfaces that are configured.
  system.activationScripts.lab-cable.text = lib.concatMapStrings (name: ''
    ${pkgs.iproute2}/bin/ip link property add dev host0 altname ${name} 2>/dev/null || true
  '') (lib.attrNames config.networking.interfaces);

  # Of a container's defaults, what a machine has otherwise.
  services.openssh.startWhenNeeded = false;
  # The one key that the lab gives a node.
  services.openssh.hostKeys = [
    {
      type = "ed25519";
      path = "/etc/ssh/ssh_host_ed25519_key";
    }
  ];
  # Tests fail logins on purpose, all from one address.
  services.openssh.settings.PerSourcePenalties = "no";
  services.openssh.settings.UseDns = lib.mkForce false;
  networking.useHostResolvConf = false;
  # Nobody gives addresses on the lab's cable.
  networking.dhcpcd.enable = lib.mkForce false;
  services.timesyncd.enable = lib.mkForce false;

  # Rules are tried as they are built in a kernel that is a library, which Debian has not.
  networking.nftables.checkRuleset = false;

  # Docker and Nomad are in no registry of packages that the lab has.
  virtualisation.docker.enable = lib.mkForce false;
  services.nomad.enableDocker = lib.mkForce false;

  # There is nothing to fetch from, and a builder of Debian's Nix finds no sandbox in a container.
  nix.settings = {
    substituters = lib.mkForce [ ];
    flake-registry = "";
    sandbox = false;
  };
  nix.channel.enable = false;
  # 400 MB of nixpkgs otherwise.
  nixpkgs.flake = {
    setNixPath = false;
    setFlakeRegistry = false;
  };

  # What a server's system does without: it is copied to every node by every first deployment.
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
