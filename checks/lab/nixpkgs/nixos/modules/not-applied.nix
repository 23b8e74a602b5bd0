# The settings that the stand-in does not apply. The toplevel lists them, and every switch prints the list.
{
  config,
  options,
  lib,
  ...
}:
let
  # Options that are applied, with all below them, and options that only the evaluation reads.
  applied =
    lib.foldl'
      (tree: path: lib.recursiveUpdate tree (lib.setAttrByPath (lib.splitString "." path) true))
      { }
      [
        "_module"
        "assertions"
        "boot.isContainer"
        "boot.isNspawnContainer"
        "boot.kernel"
        "boot.kernelModules"
        "environment.defaultPackages"
        "environment.etc"
        "environment.loginShellInit"
        "environment.pathsToLink"
        "environment.sessionVariables"
        "environment.shellInit"
        "environment.systemPackages"
        "environment.variables"
        "meta"
        "networking.domain"
        "networking.extraHosts"
        "networking.firewall"
        "networking.fqdn"
        "networking.hostName"
        "networking.hosts"
        "networking.nameservers"
        "networking.search"
        "networking.wireguard"
        "nix.channel"
        "nix.enable"
        "nix.extraOptions"
        "nix.gc"
        "nix.optimise"
        "nix.settings"
        "nixpkgs"
        "programs.ssh.extraConfig"
        "programs.ssh.knownHosts"
        "security.sudo"
        "services.consul"
        "services.journald.extraConfig"
        "services.journald.rateLimitBurst"
        "services.journald.rateLimitInterval"
        "services.journald.storage"
        "services.nomad"
        "services.openssh"
        "services.unbound"
        "services.wgautomesh"
        "standin"
        "system"
        "systemd.globalEnvironment"
        "systemd.mounts"
        "systemd.paths"
        "systemd.services"
        "systemd.settings"
        "systemd.extraConfig"
        "systemd.slices"
        "systemd.sockets"
        "systemd.targets"
        "systemd.timers"
        "systemd.tmpfiles"
        "systemd.units"
        "time.timeZone"
        "users"
        "virtualisation.additionalPaths"
        "virtualisation.diskSize"
        "virtualisation.memorySize"
        "warnings"
      ];
  own = toString ../.;
  visit =
    tree: set:
    lib.concatLists (
      lib.mapAttrsToList (
        name: value:
        let
          here = tree.${name} or { };
        in
        if here == true then
          [ ]
        else if lib.isOption value then
          # An option of the stand-in that is not at its default, whose priority is 1500.
          lib.optional (value.highestPrio < 1500 && lib.any (lib.hasPrefix own) value.declarations) (
            toString value
          )
        else
          visit here value
      ) set
    );

  firewall = config.networking.firewall;
  users = lib.attrValues config.users.users;
in
{
  options.standin.notApplied = lib.mkOption {
    type = lib.types.listOf lib.types.str;
    internal = true;
    description = "What the configuration asks for and a node does not get.";
  };
  config.standin.notApplied =
    visit applied options
    # Parts of the options above that are not applied.
    ++ lib.optional (
      !config.security.sudo.enable
    ) "security.sudo.enable = false (the machine's sudo stays)"
    ++ lib.optional (
      !config.services.openssh.enable
    ) "services.openssh.enable = false (the machine's sshd stays)"
    ++ lib.optional config.services.openssh.startWhenNeeded "services.openssh.startWhenNeeded"
    ++ lib.optional (
      firewall.enable && firewall.extraCommands != ""
    ) "networking.firewall.extraCommands (rules are nftables')"
    ++ lib.optional (firewall.enable && firewall.filterForward) "networking.firewall.filterForward"
    ++ lib.optional (lib.any (user: user.packages != [ ]) users) "users.users.<name>.packages"
    ++ lib.optional (lib.any (user: user.linger == true) users) "users.users.<name>.linger"
    ++ lib.optional (lib.any (
      user: user.subUidRanges != [ ] || user.subGidRanges != [ ] || user.autoSubUidGidRange
    ) users) "users.users.<name>.subUidRanges, subGidRanges"
    ++ lib.optional config.system.autoUpgrade.enable "system.autoUpgrade"
    ++ lib.optional config.system.etc.overlay.enable "system.etc.overlay";
}
