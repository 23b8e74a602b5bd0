# What Debian's programs need in stage 1 of a machine with an encrypted disk or a network there.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (config.boot) initrd;
  inherit (pkgs) busybox openssh;
  systemd = initrd.systemd.package;

  # Paths that are compiled into systemd; then systemd itself.
  init = pkgs.writeScript "debian-init" ''
    #!${busybox}/bin/busybox sh
    b=${busybox}/bin/busybox
    $b mkdir -p /usr/lib
    $b ln -s /bin /usr/bin
    $b ln -s /sbin /usr/sbin
    $b ln -s /lib/modules /usr/lib/modules
    $b ln -s ${systemd}/lib/systemd /usr/lib/systemd
    $b ln -s ${systemd}/lib/udev /usr/lib/udev
    exec /init "$@"
  '';
in
{
  boot.initrd = lib.mkMerge [
    # ./node.nix leaves out NixOS's default modules.
    (lib.mkIf (initrd.luks.devices != { }) { kernelModules = lib.mkForce [ "dm_mod" ]; })
    (lib.mkIf initrd.network.enable { kernelModules = lib.mkForce [ "af_packet" ]; })

    (lib.mkIf (initrd.network.ssh.enable && !initrd.systemd.enable) {
      extraFiles."usr/lib".source = pkgs.runCommand "klibc" { } "cp -r ${pkgs.klibc}/lib $out";
      extraUtilsCommands = "copy_bin_and_libs ${openssh}/libexec/sshd-auth";
      # sshd's own test wants its account on the machine that builds.
      extraUtilsCommandsTest = lib.mkForce "";
      network.postCommands = lib.mkBefore "mkdir -p /run/sshd";
      network.ssh.extraConfig = "SshdAuthPath /bin/sshd-auth";
    })

    (lib.mkIf initrd.systemd.enable {
      compressorArgs = [ "-1" ];
      services.resolved.enable = false;
      network.ssh.extraConfig = ''
        SshdSessionPath ${openssh}/libexec/sshd-session
        SshdAuthPath ${openssh}/libexec/sshd-auth
      '';
      systemd = {
        strip = false;
        contents."/debian-init".source = init;
        storePaths = [
          "${busybox}/bin/busybox"
          "${openssh}/libexec/sshd-auth"
        ];
        services.sshd.preStart = lib.mkBefore "mkdir -p /run/sshd";
      };
    })
  ];
  boot.kernelParams = lib.mkIf initrd.systemd.enable [ "rdinit=/debian-init" ];
}
