# The options of a node of a VM test, beside those of a system.
{ lib, pkgs, ... }:
{
  options.virtualisation = {
    memorySize = lib.mkOption {
      type = lib.types.ints.positive;
      default = 1024;
      description = "Memory of the virtual machine, in MiB.";
    };
    diskSize = lib.mkOption {
      type = lib.types.ints.positive;
      default = 1024;
      description = "Disk of the virtual machine, in MiB.";
    };
    writableStore = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = "Whether the store can be written.";
    };
    additionalPaths = lib.mkOption {
      type = lib.types.listOf lib.types.path;
      default = [ ];
      description = "Store paths that the machine has from the start.";
    };
    useBootLoader = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Whether the machine starts by its own bootloader.";
    };
    useEFIBoot = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Whether the machine has UEFI firmware.";
    };
    rootDevice = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = "/dev/disk/by-label/nixos";
      description = "The device with the root file system.";
    };
    directBoot.initrd = lib.mkOption {
      type = lib.types.str;
      description = "The initrd that QEMU starts, in words of its shell.";
    };
    qemu.drives = lib.mkOption {
      type = lib.types.listOf (lib.types.attrsOf lib.types.anything);
      default = [ ];
      description = "Drives of QEMU.";
    };
  };
  config = {
    boot.loader.grub.enable = lib.mkDefault false;
    fileSystems."/" = lib.mkDefault {
      device = "/dev/vda";
      fsType = "ext4";
    };
    networking.useDHCP = lib.mkDefault false;
    system.build = {
      initialRamdisk = pkgs.writeText "initrd" "";
      initialRamdiskSecretAppender = pkgs.writeText "append-initrd-secrets" "";
    };
  };
}
