# Users and groups.
# Follows nixos/modules/config/users-groups.nix.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.users;
  passwordHash = types.nullOr passwdEntry;
  entryOf =
    type:
    types.addCheck type (
      value: !(lib.hasInfix ":" (toString value) || lib.hasInfix "\n" (toString value))
    )
    // {
      name = "passwdEntry ${type.name}";
      description = "${type.description}, not containing newlines or colons";
      descriptionClass = "nonRestrictiveClause";
    };
  passwdEntry = entryOf types.str;
  flag =
    description:
    mkOption {
      type = types.bool;
      default = false;
      inherit description;
    };
  userModule =
    { name, config, ... }:
    {
      options = {
        enable = mkOption {
          type = types.bool;
          default = true;
          example = false;
          description = "Whether the user is made.";
        };
        name = mkOption {
          type = passwdEntry;
          description = "The name of the account.";
        };
        description = mkOption {
          type = passwdEntry;
          default = "";
          example = "Alice Q. User";
          description = "The full name.";
        };
        uid = mkOption {
          type = types.nullOr types.int;
          default = null;
          description = "The numeric id; a free one where null.";
        };
        isSystemUser = flag "Whether the account is one of the system's, without a login.";
        isNormalUser = flag "Whether the account is a person's.";
        group = mkOption {
          type = types.str;
          default = "";
          apply =
            value:
            assert lib.assertMsg (
              lib.stringLength value < 32
            ) "The group name '${value}' is longer than 31 characters which is not allowed!";
            value;
          description = "The primary group.";
        };
        extraGroups = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "Further groups.";
        };
        home = mkOption {
          type = entryOf types.path;
          default = "/var/empty";
          description = "The home folder.";
        };
        homeMode = mkOption {
          type = types.strMatching "[0-7]{1,5}";
          default = "700";
          description = "The mode of the home folder.";
        };
        cryptHomeLuks = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "An encrypted device with the home folder.";
        };
        pamMount = mkOption {
          type = types.attrsOf types.str;
          default = { };
          description = "Attributes of pam_mount.";
        };
        pamShells = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "Shells for PAM.";
        };
        shell = mkOption {
          type = types.nullOr (types.either types.shellPackage (entryOf types.path));
          default = "/usr/sbin/nologin";
          description = "The login shell.";
        };
        ignoreShellProgramCheck = flag "Whether the shell may be one that is not enabled.";
        subUidRanges = mkOption {
          type = types.listOf (
            types.submodule {
              options = {
                startUid = mkOption {
                  type = types.int;
                  description = "The first id.";
                };
                count = mkOption {
                  type = types.int;
                  default = 1;
                  description = "How many ids.";
                };
              };
            }
          );
          default = [ ];
          description = "Subordinate user ids.";
        };
        subGidRanges = mkOption {
          type = types.listOf (
            types.submodule {
              options = {
                startGid = mkOption {
                  type = types.int;
                  description = "The first id.";
                };
                count = mkOption {
                  type = types.int;
                  default = 1;
                  description = "How many ids.";
                };
              };
            }
          );
          default = [ ];
          description = "Subordinate group ids.";
        };
        autoSubUidGidRange = flag "Whether subordinate ids are given.";
        createHome = flag "Whether the home folder is made.";
        useDefaultShell = flag "Whether the shell is users.defaultUserShell.";
        hashedPassword = mkOption {
          type = passwordHash;
          default = null;
          description = "The hash of the password.";
        };
        password = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "The password in clear, for tests.";
        };
        hashedPasswordFile = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "A file on the node that holds the hash alone.";
        };
        initialHashedPassword = mkOption {
          type = passwordHash;
          default = null;
          description = "The hash that a new account starts with.";
        };
        initialPassword = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "The password in clear that a new account starts with, for tests.";
        };
        packages = mkOption {
          type = types.listOf types.package;
          default = [ ];
          description = "Packages of the user.";
        };
        expires = mkOption {
          type = types.nullOr (types.strMatching "[[:digit:]]{4}-[[:digit:]]{2}-[[:digit:]]{2}");
          default = null;
          description = "The day on which the account ends.";
        };
        linger = mkOption {
          type = types.nullOr types.bool;
          default = null;
          description = "Whether the user's manager runs without a login.";
        };
      };
      config = lib.mkMerge [
        {
          name = lib.mkDefault name;
          shell = lib.mkIf config.useDefaultShell (lib.mkDefault cfg.defaultUserShell);
        }
        (lib.mkIf config.isNormalUser {
          group = lib.mkDefault "users";
          createHome = lib.mkDefault true;
          home = lib.mkDefault "/home/${config.name}";
          useDefaultShell = lib.mkDefault true;
          isSystemUser = lib.mkDefault false;
        })
      ];
    };
  groupModule =
    { name, ... }:
    {
      options = {
        name = mkOption {
          type = passwdEntry;
          description = "The name of the group.";
        };
        gid = mkOption {
          type = types.nullOr types.int;
          default = null;
          description = "The numeric id; a free one where null.";
        };
        members = mkOption {
          type = types.listOf passwdEntry;
          default = [ ];
          description = "The users in the group.";
        };
      };
      config = {
        name = lib.mkDefault name;
        members = lib.mapAttrsToList (_: user: user.name) (
          lib.filterAttrs (_: user: user.enable && lib.elem name user.extraGroups) cfg.users
        );
      };
    };

  users = lib.filter (user: user.enable) (lib.attrValues cfg.users);
  # One line for a user or group, with tabs between the fields.
  record = lib.concatMapStringsSep "\t" (
    value: if value == null || value == "" then "-" else toString value
  );
  shellOf =
    user:
    if user.shell == null then
      null
    else if user.shell ? shellPath then
      user.shell.shellPath
    else
      toString user.shell;
  data =
    pkgs.runCommand "users"
      {
        passAsFile = [
          "accounts"
          "groups"
        ];
        accounts = lib.concatMapStrings (
          user:
          record [
            user.name
            user.uid
            user.group
            user.home
            (shellOf user)
            user.description
            (if user.isSystemUser then "system" else "normal")
            (if user.createHome then user.homeMode else null)
            user.hashedPasswordFile
            user.hashedPassword
            user.password
            user.initialHashedPassword
            user.initialPassword
            user.expires
          ]
          + "\n"
        ) users;
        groups = lib.concatMapStrings (
          group:
          record [
            group.name
            group.gid
            (lib.concatStringsSep "," (lib.unique group.members))
          ]
          + "\n"
        ) (lib.attrValues cfg.groups);
      }
      ''
        mkdir $out
        cp "$accountsPath" $out/accounts
        cp "$groupsPath" $out/groups
        echo ${if cfg.mutableUsers then "mutable" else "immutable"} >$out/mode
      '';
  canLogIn =
    user:
    user.hashedPassword != null && user.hashedPassword != "!"
    || user.password != null
    || user.hashedPasswordFile != null
    || user.openssh.authorizedKeys.keys != [ ]
    || user.openssh.authorizedKeys.keyFiles != [ ];
in
{
  options.users = {
    mutableUsers = mkOption {
      type = types.bool;
      default = true;
      description = "Whether accounts can be changed on the node; if not, every activation makes them what the configuration says.";
    };
    enforceIdUniqueness = mkOption {
      type = types.bool;
      default = true;
      description = "Whether two accounts must not have one id.";
    };
    allowNoPasswordLogin = flag "Whether a system into which nobody can log in is allowed.";
    defaultUserShell = mkOption {
      type = types.either types.path types.shellPackage;
      default = "/bin/bash";
      description = "The shell of people.";
    };
    motd = mkOption {
      type = types.lines;
      default = "";
      description = "The message at login.";
    };
    users = mkOption {
      type = types.attrsOf (types.submodule userModule);
      default = { };
      example = {
        alice = {
          isNormalUser = true;
        };
      };
      description = "Accounts.";
    };
    groups = mkOption {
      type = types.attrsOf (types.submodule groupModule);
      default = { };
      description = "Groups.";
    };
    manageLingering = mkOption {
      type = types.bool;
      default = false;
      description = "Whether `linger` is applied.";
    };
  };
  options.services.userborn.enable = flag "Whether accounts are made by userborn.";

  config = {
    users.users.root = {
      uid = 0;
      description = "System administrator";
      home = "/root";
      shell = lib.mkDefault cfg.defaultUserShell;
      group = "root";
      isSystemUser = true;
    };
    users.groups = {
      root.gid = 0;
      wheel = { };
      users = { };
    };
    system.build.standinUsers = data;
    assertions = [
      {
        assertion =
          cfg.mutableUsers
          || cfg.allowNoPasswordLogin
          || lib.any (
            user:
            (
              user.name == "root"
              || lib.elem "wheel" user.extraGroups
              || lib.elem user.name cfg.groups.wheel.members
            )
            && canLogIn user
          ) users;
        message = "Neither the root account nor any wheel user has a password or SSH authorized key; with users.mutableUsers = false nobody could log in. Set users.allowNoPasswordLogin if that is meant.";
      }
    ]
    ++ lib.concatMap (user: [
      {
        assertion =
          user.name == "root"
          || user.isNormalUser != user.isSystemUser
          || (user.uid != null && user.uid < 1000 && !user.isNormalUser);
        message = "Exactly one of users.users.${user.name}.isSystemUser and users.users.${user.name}.isNormalUser must be set.";
      }
      {
        assertion = user.group != "";
        message = "users.users.${user.name}.group is unset. Set it, for example by users.users.${user.name}.group = \"${user.name}\"; users.groups.${user.name} = { };";
      }
      {
        assertion = user.group == "" || cfg.groups ? ${user.group};
        message = "The group ${user.group} of the user ${user.name} does not exist.";
      }
    ]) users
    ++ (
      let
        ids = lib.filter (id: id != null) (map (user: user.uid) users);
        gids = lib.filter (id: id != null) (map (group: group.gid) (lib.attrValues cfg.groups));
      in
      [
        {
          assertion = !cfg.enforceIdUniqueness || (lib.allUnique ids && lib.allUnique gids);
          message = "UIDs and GIDs must be unique!";
        }
      ]
    );
    warnings = lib.concatMap (
      user:
      lib.optional
        (
          lib.count (value: value != null) [
            user.hashedPassword
            user.password
            user.hashedPasswordFile
          ] > 1
        )
        "The user '${user.name}' has several of hashedPassword, password and hashedPasswordFile; the file wins."
    ) users;
  };
}
