# Options of services and programs. Most are not applied: see ./not-applied.nix.
# Follows nixos/modules/services/system/dbus.nix, nixos/modules/services/security/fail2ban.nix,
#   nixos/modules/system/boot/timesyncd.nix, nixos/modules/system/boot/resolved.nix,
#   nixos/modules/system/boot/systemd/journald.nix, nixos/modules/system/boot/systemd/logind.nix.
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
  cfg = config.services;
in
{
  options = {
    time.timeZone = nullable (types.strMatching "[^ ]*") "The time zone." // {
      example = "Europe/Paris";
    };
    time.hardwareClockInLocalTime = flag false "Whether the hardware clock has local time.";
    location.provider = mkOption {
      type = types.enum [
        "manual"
        "geoclue2"
      ];
      default = "manual";
      description = "How the place is known.";
    };
    i18n = {
      defaultLocale = text "en_US.UTF-8" "The language.";
      supportedLocales = strings [ "C.UTF-8/UTF-8" "en_US.UTF-8/UTF-8" ] "Languages that are there.";
      extraLocaleSettings = mkOption {
        type = types.attrsOf types.str;
        default = { };
        description = "Further settings of the language.";
      };
      extraLocales = mkOption {
        type = types.either (types.listOf types.str) (types.enum [ "all" ]);
        default = [ ];
        description = "Further languages.";
      };
    };
    console = {
      enable = flag true "Whether there is a console.";
      keyMap = mkOption {
        type = types.either types.str types.path;
        default = "us";
        description = "The keyboard.";
      };
      font = nullable (types.either types.str types.path) "The font.";
      earlySetup = flag false "Whether the initrd sets the console up.";
      useXkbConfig = flag false "Whether the keyboard is X's.";
    };
    services = {
      journald = {
        extraConfig = lines "Further lines of journald.conf.";
        console = text "" "Where messages are also shown.";
        rateLimitInterval = text "30s" "The interval of the limit.";
        rateLimitBurst = mkOption {
          type = types.int;
          default = 10000;
          description = "How many messages in the interval.";
        };
        storage = mkOption {
          type = types.enum [
            "persistent"
            "volatile"
            "auto"
            "none"
          ];
          default = "persistent";
          description = "Where the journal is kept.";
        };
        forwardToSyslog = flag false "Whether messages go to syslog.";
      };
      resolved = {
        enable = flag false "Whether systemd-resolved is the resolver.";
        domains = strings [ ] "Domains in which short names are looked up.";
        dnssec = mkOption {
          type = types.enum [
            "true"
            "allow-downgrade"
            "false"
          ];
          default = "false";
          description = "Whether answers must be signed.";
        };
        dnsovertls = mkOption {
          type = types.enum [
            "true"
            "opportunistic"
            "false"
          ];
          default = "false";
          description = "Whether questions are encrypted.";
        };
        llmnr = mkOption {
          type = types.enum [
            "true"
            "resolve"
            "false"
          ];
          default = "true";
          description = "Whether LLMNR is used.";
        };
        fallbackDns = nullable (types.listOf types.str) "Resolvers where there are none.";
        extraConfig = lines "Further lines of resolved.conf.";
        settings = mkOption {
          type = types.attrsOf (types.attrsOf types.unspecified);
          default = { };
          description = "Settings of resolved.conf.";
        };
      };
      timesyncd.enable = flag true "Whether systemd-timesyncd keeps the time.";
      timesyncd.servers = mkOption {
        type = types.nullOr (types.listOf types.str);
        default = null;
        description = "Time servers.";
      };
      timesyncd.extraConfig = lines "Further lines of timesyncd.conf.";
      chrony.enable = flag false "Whether chrony keeps the time.";
      chrony.servers = strings [ ] "Time servers.";
      chrony.extraConfig = lines "Further lines of chrony.conf.";
      dbus.enable = flag true "Whether there is D-Bus.";
      dbus.implementation = mkOption {
        type = types.enum [
          "dbus"
          "broker"
        ];
        default = "broker";
        description = "Which D-Bus.";
      };
      fstrim.enable = flag true "Whether disks are trimmed.";
      fwupd.enable = flag false "Whether firmware is updated.";
      nscd.enable = flag true "Whether names are cached.";
      lvm.enable = flag true "Whether there is LVM.";
      qemuGuest.enable = flag false "Whether the machine is a guest of QEMU.";
      smartd.enable = flag false "Whether disks are watched.";
      udev.enable = flag true "Whether there is udev.";
      udev.extraRules = lines "Further rules of udev.";
      logrotate.enable = flag true "Whether logs are rotated.";
      getty.autologinUser = nullable types.str "Who is logged in at the console.";
      getty.helpLine = lines "The text at the console.";
      fail2ban.enable = flag false "Whether hosts that fail to log in are shut out.";
      logind.settings.Login = mkOption {
        type = types.attrsOf types.unspecified;
        default = { };
        description = "Settings of logind.conf.";
      };
    };
    programs = {
      bash.completion.enable = flag true "Whether bash completes commands.";
      bash.interactiveShellInit = lines "Shell code of interactive bash.";
      bash.shellAliases = mkOption {
        type = types.attrsOf (types.nullOr types.str);
        default = { };
        description = "Aliases of bash.";
      };
      command-not-found.enable = flag false "Whether packages of unknown commands are named.";
      git.enable = flag false "Whether there is git.";
      htop.enable = flag false "Whether there is htop.";
      less.enable = flag true "Whether there is less.";
      mosh.enable = flag false "Whether there is mosh.";
      mtr.enable = flag false "Whether there is mtr.";
      nano.enable = flag true "Whether there is nano.";
      tmux.enable = flag false "Whether there is tmux.";
      vim.enable = flag false "Whether there is vim.";
      vim.defaultEditor = flag false "Whether vim is the editor.";
      zsh.enable = flag false "Whether there is zsh.";
      gnupg.agent.enable = flag false "Whether there is an agent of GnuPG.";
      nix-ld.enable = flag false "Whether foreign programs run.";
    };
    virtualisation = {
      docker = {
        enable = flag false "Whether Docker runs.";
        enableOnBoot = flag true "Whether it is started at boot.";
        package = lib.mkPackageOption pkgs "docker" { };
        autoPrune.enable = flag false "Whether what is unused is removed regularly.";
        autoPrune.dates = text "weekly" "When.";
        autoPrune.flags = strings [ ] "Flags of the removal.";
        daemon.settings = open "Settings of daemon.json.";
        extraOptions = mkOption {
          type = types.separatedString " ";
          default = "";
          description = "Further arguments of the daemon.";
        };
        listenOptions = strings [ "/run/docker.sock" ] "Where the daemon listens.";
        liveRestore = flag true "Whether containers go on without the daemon.";
        logDriver = mkOption {
          type = types.enum [
            "none"
            "json-file"
            "syslog"
            "journald"
            "gelf"
            "fluentd"
            "awslogs"
            "splunk"
            "etwlogs"
            "gcplogs"
            "local"
          ];
          default = "journald";
          description = "Where logs of containers go.";
        };
        storageDriver = nullable (types.enum [
          "aufs"
          "btrfs"
          "devicemapper"
          "overlay"
          "overlay2"
          "zfs"
        ]) "How images are kept.";
      };
      podman.enable = flag false "Whether there is Podman.";
      libvirtd.enable = flag false "Whether libvirt runs.";
      containers.enable = flag false "Whether containers are configured.";
    };
    documentation = {
      enable = flag true "Whether there is documentation.";
      man.enable = flag true "Whether there are manual pages.";
      doc.enable = flag true "Whether there are documents.";
      info.enable = flag true "Whether there are info pages.";
      dev.enable = flag false "Whether there is documentation for developers.";
      nixos.enable = flag true "Whether there is NixOS's manual.";
      nixos.includeAllModules = flag false "Whether it has the options of all modules.";
    };
    fonts.fontconfig.enable = flag false "Whether there are fonts.";
    xdg = lib.genAttrs [ "autostart" "icons" "menus" "mime" "sounds" ] (name: {
      enable = flag false "Whether xdg's ${name} are there.";
    });
    powerManagement.cpuFreqGovernor = nullable types.str "How fast processors run.";
    powerManagement.enable = flag true "Whether power is managed.";
    system.autoUpgrade.enable = flag false "Whether the system upgrades itself.";
    system.disableInstallerTools = flag false "Whether tools of the installer are left out.";
    system.tools.nixos-rebuild.enable = flag true "Whether there is nixos-rebuild.";
    system.etc.overlay.enable = flag false "Whether /etc is an overlay.";
    system.etc.overlay.mutable = flag true "Whether that overlay can be written.";
  };
  config = {
    environment.etc = {
      "systemd/journald.conf.d/nixos.conf" =
        lib.mkIf (cfg.journald.extraConfig != "" || cfg.journald.storage != "persistent")
          {
            text = "[Journal]\nStorage=${cfg.journald.storage}\nRateLimitInterval=${cfg.journald.rateLimitInterval}\nRateLimitBurst=${toString cfg.journald.rateLimitBurst}\n${cfg.journald.extraConfig}";
          };
      localtime = lib.mkIf (config.time.timeZone != null) {
        source = "/usr/share/zoneinfo/${config.time.timeZone}";
      };
      motd = lib.mkIf (config.users.motd != "") { text = config.users.motd; };
    };
    # nixos/modules/services/system/dbus.nix of 26.05.
    system.switch.inhibitors.dbus-implementation = lib.mkIf cfg.dbus.enable cfg.dbus.implementation;
    users.groups = lib.mkIf config.virtualisation.docker.enable { docker = { }; };
  };
}
