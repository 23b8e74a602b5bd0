# Packages of virtual machines, beside those of all nodes. ../genuine/packages.nix describes the format.
let
  python = [
    "python3"
    "python3-minimal"
    "python3.13"
    "python3.13-minimal"
    "libpython3.13-minimal"
    "libpython3.13-stdlib"
  ];
in
{
  audit = {
    debs = [ "auditd" ];
    program = "auditctl";
    try = "-v";
  };
  busybox = {
    debs = [ "busybox-static" ];
    try = "true";
  };
  cryptsetup.debs = [ "cryptsetup-bin" ];
  dosfstools = {
    debs = [ "dosfstools" ];
    program = "mkfs.fat";
    try = "--help";
  };
  e2fsprogs = {
    debs = [
      "e2fsprogs"
      "logsave"
    ];
    program = "mkfs.ext4";
    try = "-V";
  };
  git.debs = [ "git" ];
  gnupg = {
    debs = [
      "gpg"
      "gpg-agent"
      "gpgconf"
    ];
    program = "gpg";
  };
  grub2 = {
    debs = [
      "grub-common"
      "grub2-common"
      "grub-pc-bin"
    ];
    program = "grub-install";
  };
  # For `ipconfig`, which gives an initrd its network.
  klibc = {
    debs = [
      "klibc-utils"
      "libklibc"
    ];
    program = null;
  };
  linux = {
    debs = [ "linux-image-amd64" ];
    program = null;
  };
  # Another kernel, for tests of restarts.
  linux-rt = {
    debs = [ "linux-image-rt-amd64" ];
    program = null;
  };
  lvm2 = {
    debs = [
      "lvm2"
      "dmsetup"
    ];
    program = "lvm";
    try = "version";
  };
  parted.debs = [ "parted" ];
  pass = {
    debs = [ "pass" ];
    uses = {
      tree = "tree";
      utillinux = "util-linux";
    };
  };
  python3.debs = python;
  systemd.debs = [ "systemd-cryptsetup" ];
  systemd-boot = {
    debs = [
      "systemd-boot"
      "systemd-boot-efi"
      "systemd-boot-tools"
    ];
    program = "bootctl";
  };
  tree.debs = [ "tree" ];
}
