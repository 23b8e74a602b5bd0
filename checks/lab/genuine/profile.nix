# Settings of every lab node, whatever its cluster's files say: it is a container, and the lab provides its kernel, disk and network.
# NixOS makes all else, but for what ./lean.nix leaves out.
{
  config,
  lib,
  pkgs,
  ...
}:
{
  imports = [
    ./consul.nix
    ./lean.nix
    ./wireguard.nix
  ];

  # Takes `nixpkgs.config` and `nixpkgs.overlays` as nixpkgs' own set does.
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

  # The lab's boot loader starts the system whose path is in this file.
  system.build.installBootLoader = lib.mkForce (
    pkgs.writeShellScript "install-lab-boot-loader" ''
      set -eu
      ${pkgs.coreutils}/bin/mkdir -p /boot
      echo "$1" >/boot/default.new
      ${pkgs.coreutils}/bin/sync /boot/default.new
      ${pkgs.coreutils}/bin/mv /boot/default.new /boot/default
    ''
  );

  # The node's one interface also has the names of all that are configured.
  system.activationScripts.lab-cable.text = lib.concatMapStrings (name: ''
    ${pkgs.iproute2}/bin/ip link property add dev host0 altname ${name} 2>/dev/null || true
  '') (lib.attrNames config.networking.interfaces);

  # NixOS's default for machines, but not for containers.
  services.openssh.startWhenNeeded = false;
  # The one key that the lab gives a node.
  services.openssh.hostKeys = [
    {
      type = "ed25519";
      path = "/etc/ssh/ssh_host_ed25519_key";
    }
  ];
  services.openssh.settings.UseDns = lib.mkForce false;
  networking.useHostResolvConf = false;
  nix.settings.flake-registry = "";
}
