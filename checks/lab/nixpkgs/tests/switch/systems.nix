# Systems for ./run: one base, and what each adds to it.
let
  nixpkgs = import ../../flake.nix;
  inherit ((nixpkgs.outputs { self = nixpkgs; })) lib;
  base =
    { pkgs, ... }:
    {
      networking.hostName = "alder";
      system.stateVersion = "26.05";
      boot.isContainer = true;
      networking.firewall.enable = false;
      services.openssh.enable = true;
      users.users.alice = {
        isNormalUser = true;
        extraGroups = [ "wheel" ];
      };
      nix.settings.experimental-features = [
        "nix-command"
        "flakes"
      ];
    };
  running = program: {
    wantedBy = [ "multi-user.target" ];
    serviceConfig.ExecStart = program;
  };
  variants = {
    plain = { };
    first = {
      environment.etc."standin/file".text = "one\n";
      environment.etc."standin/secret" = {
        text = "copied\n";
        mode = "0600";
        group = "users";
      };
      users.users.carol = {
        isNormalUser = true;
        initialHashedPassword = "$6$first";
      };
      users.groups.crew.members = [ "carol" ];
      systemd.services = {
        stays = running "/bin/sleep 1001";
        changes = running "/bin/sleep 1002";
        reloads = running "/bin/sleep 1003" // {
          reloadIfChanged = true;
          reload = "echo reloaded >>/run/standin-reloads";
        };
        left-alone = running "/bin/sleep 1004" // {
          restartIfChanged = false;
        };
        goes = running "/bin/sleep 1005";
        described = running "/bin/sleep 1006" // {
          description = "Before";
        };
      };
    };
    second = {
      environment.etc."standin/file".text = "two\n";
      users.users.dave = {
        isNormalUser = true;
        hashedPassword = "$6$dave";
      };
      systemd.services = {
        stays = running "/bin/sleep 1001";
        changes = running "/bin/sleep 2002";
        reloads = running "/bin/sleep 2003" // {
          reloadIfChanged = true;
          reload = "echo reloaded >>/run/standin-reloads";
        };
        left-alone = running "/bin/sleep 2004" // {
          restartIfChanged = false;
        };
        comes = running "/bin/sleep 2005";
        described = running "/bin/sleep 1006" // {
          description = "After";
        };
      };
    };
    # A service of the type `simple` may fail only after the switch.
    failingUnit.systemd.services.fails = {
      wantedBy = [ "multi-user.target" ];
      serviceConfig = {
        Type = "oneshot";
        ExecStart = "/bin/false";
      };
    };
    failingSnippet.system.activationScripts.fails = {
      text = "false\necho went on >/run/standin-went-on";
      deps = [ "users" ];
    };
    failingCheck.system.preSwitchChecks.never = "exit 1";
    checksArguments.system.preSwitchChecks.arguments = ''[ "$#" = 2 ] && [ -e "$1/standin/checks/arguments" ] && [ "$2" = switch ]'';
    inhibited.system.switch.inhibitors.part = "one";
    inhibitedOtherwise.system.switch.inhibitors.part = "two";
    otherInit =
      { pkgs, ... }:
      {
        systemd.package = pkgs.systemd // {
          interfaceVersion = 3;
        };
      };
    failingBootLoader =
      { pkgs, ... }:
      {
        system.build.installBootLoader = pkgs.writeShellScript "no-bootloader" "exit 1";
      };
    immutable = {
      users.mutableUsers = false;
      users.users.root.hashedPassword = "$6$root";
      users.users.erin = {
        isNormalUser = true;
        hashedPasswordFile = "/var/lib/standin-missing";
      };
      users.users.frank = {
        isNormalUser = true;
        hashedPasswordFile = "/var/lib/standin-hash";
      };
      users.users.alice.hashedPassword = "$6$alice";
    };
    wrongSshd.services.openssh.extraConfig = "NoSuchKeyword yes";
    execWheelOnly.security.sudo.execWheelOnly = true;
    keys.users.users.alice.openssh.authorizedKeys.keys = [
      "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHA5k0sb2bCWPuu0TYCEuYTGTW5CwR0sTxEVxN4FTqrn test"
    ];
    activeSocket.systemd = {
      sockets.echo = {
        wantedBy = [ "sockets.target" ];
        listenStreams = [ "/run/standin-echo" ];
        socketConfig.Accept = true;
      };
      services."echo@".serviceConfig.ExecStart = "/bin/cat";
      timers.tick = {
        wantedBy = [ "timers.target" ];
        timerConfig.OnCalendar = "yearly";
      };
      services.tick.script = "true";
      tmpfiles.settings.test."/var/lib/standin-folder".d = {
        mode = "0750";
        group = "users";
      };
    };
  };
in
lib.mapAttrs (
  _: variant:
  (lib.nixosSystem {
    system = builtins.currentSystem;
    modules = [
      base
      variant
    ];
  }).config.system.build.toplevel
) variants
