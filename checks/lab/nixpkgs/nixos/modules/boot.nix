# Booting, disks and the kernel. Only the kernel's settings and modules are applied.
# Follows nixos/modules/system/boot/kernel.nix, nixos/modules/system/boot/stage-1.nix, nixos/modules/system/boot/luksroot.nix,
#   nixos/modules/system/boot/initrd-network.nix, nixos/modules/system/boot/initrd-ssh.nix, nixos/modules/system/boot/tmp.nix,
#   nixos/modules/system/boot/loader/grub/grub.nix, nixos/modules/system/boot/loader/systemd-boot/systemd-boot.nix,
#   nixos/modules/tasks/filesystems.nix, nixos/modules/config/swap.nix, nixos/modules/config/sysctl.nix.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  inherit (import ./declare.nix { inherit lib; })
    flag
    strings
    lines
    open
    nullable
    text
    ;
  modules = strings [ ];
in
{
  options = {
    boot = {
      isContainer = flag false "Whether the system is a container.";
      isNspawnContainer = flag false "Whether the system is a systemd-nspawn container.";
      enableContainers = flag false "Whether the system has NixOS containers.";
      kernelPackages = mkOption {
        type = types.raw;
        default = pkgs.linuxPackages;
        defaultText = lib.literalExpression "pkgs.linuxPackages";
        description = "The kernel and what is built for it.";
      };
      kernelParams = strings [ ] "Parameters of the kernel.";
      kernelModules = modules "Kernel modules that are loaded.";
      blacklistedKernelModules = modules "Kernel modules that are not loaded.";
      extraModulePackages = mkOption {
        type = types.listOf types.package;
        default = [ ];
        description = "Packages with further kernel modules.";
      };
      extraModprobeConfig = lines "Lines of modprobe.conf.";
      consoleLogLevel = mkOption {
        type = types.int;
        default = 4;
        description = "How much the kernel prints.";
      };
      growPartition = flag false "Whether the root partition grows at boot.";
      supportedFilesystems = mkOption {
        type = types.coercedTo (types.listOf types.str) (names: lib.genAttrs names (_: true)) (
          types.attrsOf types.bool
        );
        default = { };
        description = "File systems that can be mounted.";
      };
      kernel.sysctl = mkOption {
        type = types.submodule {
          freeformType = types.attrsOf (
            types.nullOr (
              types.oneOf [
                types.bool
                types.str
                types.int
                types.package
              ]
            )
          );
        };
        default = { };
        example = {
          "net.ipv4.ip_forward" = 1;
        };
        description = "Settings of the running kernel.";
      };
      tmp = {
        useTmpfs = flag false "Whether /tmp is in memory.";
        cleanOnBoot = flag false "Whether /tmp is emptied at boot.";
        tmpfsSize = mkOption {
          type = types.oneOf [
            types.str
            types.ints.positive
          ];
          default = "50%";
          description = "The size of /tmp in memory.";
        };
      };
      loader = {
        timeout = mkOption {
          type = types.nullOr types.int;
          default = 5;
          description = "Seconds that the boot menu waits.";
        };
        efi = {
          canTouchEfiVariables = flag false "Whether boot entries may be written to the firmware.";
          efiSysMountPoint = text "/boot" "Where the EFI partition is mounted.";
        };
        systemd-boot = {
          enable = flag false "Whether systemd-boot is the bootloader.";
          configurationLimit = nullable types.int "How many generations the menu has.";
          editor = flag true "Whether the menu has an editor.";
          consoleMode = mkOption {
            type = types.enum [
              "0"
              "1"
              "2"
              "5"
              "auto"
              "max"
              "keep"
            ];
            default = "keep";
            description = "The resolution of the menu.";
          };
        };
        grub = {
          enable = flag (
            !config.boot.isContainer && !config.boot.loader.systemd-boot.enable
          ) "Whether GRUB is the bootloader.";
          device = text "" "The disk that GRUB is on.";
          devices = strings [ ] "The disks that GRUB is on.";
          efiSupport = flag false "Whether GRUB is made for EFI.";
          efiInstallAsRemovable = flag false "Whether GRUB is put where firmware looks without an entry.";
          configurationLimit = mkOption {
            type = types.int;
            default = 100;
            description = "How many generations the menu has.";
          };
          useOSProber = flag false "Whether other systems are looked for.";
          extraConfig = lines "Further lines of grub.cfg.";
        };
        generic-extlinux-compatible.enable = flag false "Whether extlinux.conf is written.";
        supportsInitrdSecrets = mkOption {
          type = types.bool;
          internal = true;
          default = false;
          description = "Whether the bootloader can add secrets.";
        };
      };
      initrd = {
        enable = flag true "Whether there is an initrd.";
        availableKernelModules = modules "Kernel modules in the initrd.";
        kernelModules = modules "Kernel modules that the initrd loads.";
        includeDefaultModules = flag true "Whether usual modules are in the initrd.";
        supportedFilesystems = mkOption {
          type = types.coercedTo (types.listOf types.str) (names: lib.genAttrs names (_: true)) (
            types.attrsOf types.bool
          );
          default = { };
          description = "File systems that the initrd can mount.";
        };
        secrets = mkOption {
          type = types.attrsOf (types.nullOr types.path);
          default = { };
          description = "Files put into the initrd at the bootloader's step.";
        };
        luks.devices = mkOption {
          type = types.attrsOf (
            types.submodule {
              freeformType = types.attrsOf types.anything;
              options.crypttabExtraOpts = strings [ ] "Options of the disk for an initrd with systemd.";
            }
          );
          default = { };
          description = "Encrypted disks.";
        };
        luks.forceLuksSupportInInitrd = flag false "Whether the initrd can open encrypted disks in any case.";
        systemd = {
          enable = flag true "Whether the initrd runs systemd.";
          users = open "Users in the initrd.";
          network = open "The network in the initrd.";
          services = mkOption {
            type = types.attrsOf (types.submodule { freeformType = types.attrsOf types.anything; });
            default = { };
            description = "Units in the initrd.";
          };
          contents = open "Files in the initrd.";
          storePaths = mkOption {
            type = types.listOf types.raw;
            default = [ ];
            description = "Store paths in the initrd.";
          };
          initrdBin = mkOption {
            type = types.listOf types.package;
            default = [ ];
            description = "Programs in the initrd.";
          };
          emergencyAccess = mkOption {
            type = types.oneOf [
              types.bool
              types.str
            ];
            default = false;
            description = "Whether the emergency shell can be entered.";
          };
        };
        postMountCommands = lines "Shell code of an initrd with scripts, after it has mounted the system's disks.";
        network = {
          enable = flag false "Whether the initrd has a network.";
          flushBeforeStage2 = flag true "Whether the network is taken down before the system starts.";
          udhcpc.enable = flag false "Whether the initrd asks for an address.";
          udhcpc.extraArgs = strings [ ] "Arguments of udhcpc.";
          postCommands = lines "Shell code after the network is up.";
          ssh = {
            enable = flag false "Whether sshd runs in the initrd.";
            port = mkOption {
              type = types.port;
              default = 22;
              description = "The port of sshd in the initrd.";
            };
            shell = nullable types.str "The login shell in the initrd.";
            hostKeys = mkOption {
              type = types.listOf (types.either types.str types.path);
              default = [ ];
              example = [ "/etc/secrets/initrd/ssh_host_ed25519_key" ];
              description = "Host keys of the initrd.";
            };
            ignoreEmptyHostKeys = flag false "Whether no host key is allowed.";
            authorizedKeys = mkOption {
              type = types.listOf types.str;
              default = config.users.users.root.openssh.authorizedKeys.keys;
              defaultText = lib.literalExpression "config.users.users.root.openssh.authorizedKeys.keys";
              description = "Keys that may log in to the initrd.";
            };
            authorizedKeyFiles = mkOption {
              type = types.listOf types.path;
              default = [ ];
              description = "Files of such keys.";
            };
            extraConfig = lines "Further lines of the initrd's sshd_config.";
          };
        };
        postDeviceCommands = lines "Shell code after devices are there.";
        verbose = flag true "Whether the initrd says what it does.";
      };
    };
    fileSystems = mkOption {
      default = { };
      example = lib.literalExpression ''{ "/".device = "/dev/disk/by-label/nixos"; }'';
      description = "File systems.";
      type = types.attrsOf (
        types.submodule (
          { name, ... }: {
            options = {
              enable = flag true "Whether the file system is mounted.";
              mountPoint = mkOption {
                type = types.str;
                default = name;
                description = "Where it is mounted.";
              };
              device = nullable types.nonEmptyStr "The device.";
              label = nullable types.nonEmptyStr "The label of the device.";
              fsType = mkOption {
                type = types.nonEmptyStr;
                default = "auto";
                description = "The type.";
              };
              options = mkOption {
                type = types.nonEmptyListOf types.nonEmptyStr;
                default = [ "defaults" ];
                description = "Options of the mount.";
              };
              depends = strings [ ] "Paths that must be mounted before.";
              neededForBoot = flag false "Whether the initrd mounts it.";
              autoFormat = flag false "Whether an empty device is formatted.";
              autoResize = flag false "Whether it grows to the device at boot.";
              noCheck = flag false "Whether it is not checked.";
            };
          }
        )
      );
    };
    swapDevices = mkOption {
      default = [ ];
      description = "Swap.";
      type = types.listOf (
        types.submodule {
          freeformType = types.attrsOf types.anything;
          options.device = mkOption {
            type = types.str;
            description = "The device or file.";
          };
        }
      );
    };
    zramSwap.enable = flag false "Whether there is compressed swap in memory.";
    zramSwap.memoryPercent = mkOption {
      type = types.int;
      default = 50;
      description = "How much memory it may have.";
    };
    hardware = {
      enableRedistributableFirmware = flag false "Whether firmware that may be given on is there.";
      enableAllFirmware = flag false "Whether all firmware is there.";
      cpu.intel.updateMicrocode = flag false "Whether Intel's microcode is updated.";
      cpu.amd.updateMicrocode = flag false "Whether AMD's microcode is updated.";
      firmware = mkOption {
        type = types.listOf types.package;
        default = [ ];
        description = "Packages of firmware.";
      };
      facter = open "Hardware reports.";
    };
    system.boot.loader = {
      kernelFile = mkOption {
        type = types.str;
        internal = true;
        default = "bzImage";
        description = "The file name of the kernel.";
      };
      id = mkOption {
        type = types.str;
        internal = true;
        default = "";
        description = "The bootloader's name.";
      };
    };
  };
  config = {
    environment.etc."sysctl.d/60-nixos.conf" = lib.mkIf (config.boot.kernel.sysctl != { }) {
      text = lib.concatStrings (
        lib.mapAttrsToList (
          name: v: "${name} = ${if lib.isBool v then (if v then "1" else "0") else toString v}\n"
        ) (lib.filterAttrs (_: v: v != null) config.boot.kernel.sysctl)
      );
    };
    environment.etc."modules-load.d/nixos.conf" = lib.mkIf (config.boot.kernelModules != [ ]) {
      text = lib.concatLines config.boot.kernelModules;
    };
  };
}
