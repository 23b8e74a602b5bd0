# sshd, whose settings are a drop-in of the machine's own sshd, and keys.
# Follows nixos/modules/services/networking/ssh/sshd.nix, nixos/modules/programs/ssh.nix.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  inherit (import ./declare.nix { inherit lib; }) flag strings text;
  cfg = config.services.openssh;
  nullable =
    type: default: description:
    mkOption {
      type = types.nullOr type;
      inherit default description;
    };
  value =
    v:
    if v == true then
      "yes"
    else if v == false then
      "no"
    else
      toString v;
  atom = types.nullOr (
    types.oneOf [
      types.bool
      types.int
      types.str
    ]
  );
  settings = lib.types.submodule {
    freeformType = types.attrsOf (types.either atom (types.listOf atom));
    options = {
      AuthorizedPrincipalsFile = nullable types.str "none" "The file of principals.";
      LogLevel = nullable (types.enum [
        "QUIET"
        "FATAL"
        "ERROR"
        "INFO"
        "VERBOSE"
        "DEBUG"
        "DEBUG1"
        "DEBUG2"
        "DEBUG3"
      ]) "INFO" "How much is logged.";
      UsePAM = nullable types.bool true "Whether PAM is used.";
      UseDns = nullable types.bool false "Whether names of clients are looked up.";
      X11Forwarding = nullable types.bool false "Whether X11 is forwarded.";
      PasswordAuthentication = nullable types.bool true "Whether passwords are accepted.";
      PermitRootLogin = nullable (types.enum [
        "yes"
        "without-password"
        "prohibit-password"
        "forced-commands-only"
        "no"
      ]) "prohibit-password" "Whether root may log in.";
      KbdInteractiveAuthentication =
        nullable types.bool true
          "Whether keyboard-interactive authentication is accepted.";
      GatewayPorts = nullable types.str "no" "Whether forwarded ports are open to others.";
      KexAlgorithms = nullable (types.listOf types.str) null "Key exchanges.";
      Macs = nullable (types.listOf types.str) null "Message authentication codes.";
      Ciphers = nullable (types.listOf types.str) null "Ciphers.";
      StrictModes = nullable types.bool true "Whether modes of home folders are checked.";
      AllowUsers = nullable (types.listOf types.str) null "Users that may log in.";
      DenyUsers = nullable (types.listOf types.str) null "Users that may not.";
      AllowGroups = nullable (types.listOf types.str) null "Groups that may log in.";
      DenyGroups = nullable (types.listOf types.str) null "Groups that may not.";
      PrintMotd = nullable types.bool false "Whether sshd prints the message of the day.";
    };
  };
  commaLists = [
    "KexAlgorithms"
    "Macs"
    "Ciphers"
  ];
  # sshd takes the first value of a keyword (sshd_config(5)), and Debian's sshd_config begins with the drop-ins.
  line =
    key: v:
    if lib.isList v then
      lib.optional (v != [ ])
        "${key} ${lib.concatMapStringsSep (if lib.elem key commaLists then "," else " ") value v}"
    else
      [ "${key} ${value v}" ];
  lines =
    lib.concatLists (lib.mapAttrsToList line (lib.filterAttrs (_: v: v != null) cfg.settings))
    ++ map (port: "Port ${toString port}") cfg.ports
    ++ map (
      listen:
      "ListenAddress ${if lib.hasInfix ":" listen.addr then "[${listen.addr}]" else listen.addr}${
        lib.optionalString (listen.port != null) ":${toString listen.port}"
      }"
    ) cfg.listenAddresses
    ++ [ "AuthorizedKeysFile ${lib.concatStringsSep " " cfg.authorizedKeysFiles}" ]
    ++
      lib.optional (cfg.authorizedKeysCommand != "none")
        "AuthorizedKeysCommand ${cfg.authorizedKeysCommand}\nAuthorizedKeysCommandUser ${cfg.authorizedKeysCommandUser}"
    ++ lib.optional (cfg.banner != null) "Banner /etc/ssh/banner"
    ++ lib.optional (config.standin.openssh.hostKeys) (
      lib.concatMapStringsSep "\n" (key: "HostKey ${key.path}") cfg.hostKeys
    );
  keysOf =
    user: user.openssh.authorizedKeys.keys ++ map lib.fileContents user.openssh.authorizedKeys.keyFiles;
in
{
  options = {
    services.openssh = {
      enable = flag false "Whether sshd runs.";
      package = mkOption {
        type = types.package;
        default = pkgs.openssh;
        defaultText = lib.literalExpression "pkgs.openssh";
        description = "The OpenSSH package; the stand-in uses the machine's.";
      };
      startWhenNeeded = flag false "Whether sshd is started for each connection.";
      allowSFTP = flag true "Whether SFTP is offered.";
      openFirewall = flag true "Whether the ports are opened in the firewall.";
      generateHostKeys = flag true "Whether host keys that are not there are made.";
      authorizedKeysInHomedir = flag true "Whether users' own ~/.ssh/authorized_keys count.";
      sftpServerExecutable = text "/usr/lib/openssh/sftp-server" "The SFTP server.";
      sftpFlags = strings [ ] "Flags of the SFTP server.";
      ports = mkOption {
        type = types.listOf types.port;
        default = [ 22 ];
        description = "Ports that sshd listens on.";
      };
      listenAddresses = mkOption {
        default = [ ];
        description = "Addresses that sshd listens on; all where empty.";
        type = types.listOf (
          types.submodule {
            options = {
              addr = mkOption {
                type = types.nullOr types.str;
                default = null;
                description = "The address.";
              };
              port = mkOption {
                type = types.nullOr types.port;
                default = null;
                description = "The port.";
              };
            };
          }
        );
      };
      hostKeys = mkOption {
        type = types.listOf types.attrs;
        default = [
          {
            type = "rsa";
            bits = 4096;
            path = "/etc/ssh/ssh_host_rsa_key";
          }
          {
            type = "ed25519";
            path = "/etc/ssh/ssh_host_ed25519_key";
          }
        ];
        description = "Host keys.";
      };
      banner = mkOption {
        type = types.nullOr types.lines;
        default = null;
        description = "The text before a login.";
      };
      authorizedKeysFiles = strings [ ] "Where keys of users are looked for.";
      authorizedKeysCommand = text "none" "A program that prints keys of a user.";
      authorizedKeysCommandUser = text "nobody" "Who runs that program.";
      settings = mkOption {
        type = settings;
        default = { };
        example = {
          PasswordAuthentication = false;
        };
        description = "Settings of sshd_config.";
      };
      extraConfig = mkOption {
        type = types.lines;
        default = "";
        description = "Further lines of sshd_config.";
      };
      moduliFile = mkOption {
        type = types.path;
        default = "/etc/ssh/moduli";
        description = "The file of moduli.";
      };
    };
    standin.openssh.hostKeys = mkOption {
      type = types.bool;
      internal = true;
      default = true;
      description = "Whether HostKey lines are written.";
    };
    users.users = mkOption {
      type = types.attrsOf (
        types.submodule {
          options.openssh.authorizedKeys = {
            keys = mkOption {
              type = types.listOf types.singleLineStr;
              default = [ ];
              description = "Public keys that may log in as the user.";
            };
            keyFiles = mkOption {
              type = types.listOf types.path;
              default = [ ];
              description = "Files of such keys.";
            };
          };
          options.openssh.authorizedPrincipals = mkOption {
            type = types.listOf types.singleLineStr;
            default = [ ];
            description = "Principals that may log in as the user.";
          };
        }
      );
    };
    programs.ssh = {
      extraConfig = mkOption {
        type = types.lines;
        default = "";
        description = "Further lines of ssh_config.";
      };
      startAgent = flag false "Whether an agent runs for each user.";
      knownHosts = mkOption {
        default = { };
        description = "Host keys that everybody knows.";
        type = types.attrsOf (
          types.submodule (
            { name, config, ... }: {
              options = {
                certAuthority = flag false "Whether the key is one of a certificate authority.";
                hostNames = mkOption {
                  type = types.listOf types.str;
                  default = [ name ] ++ config.extraHostNames;
                  description = "Names of the host.";
                };
                extraHostNames = strings [ ] "Further names.";
                publicKey = mkOption {
                  type = types.nullOr types.str;
                  default = null;
                  description = "The key.";
                };
                publicKeyFile = mkOption {
                  type = types.nullOr types.path;
                  default = null;
                  description = "The file of the key.";
                };
              };
            }
          )
        );
      };
    };
  };
  config = lib.mkMerge [
    {
      environment.etc =
        lib.mapAttrs' (
          _: user:
          # A copy, as sshd refuses files in a folder that others than root can write (StrictModes), such as the store.
          lib.nameValuePair "ssh/authorized_keys.d/${user.name}" {
            mode = "0444";
            text = lib.concatLines (keysOf user);
          }
        ) (lib.filterAttrs (_: user: user.enable && keysOf user != [ ]) config.users.users)
        // lib.optionalAttrs (config.programs.ssh.knownHosts != { }) {
          "ssh/ssh_known_hosts".text = lib.concatLines (
            lib.mapAttrsToList (
              _: host:
              "${lib.optionalString host.certAuthority "@cert-authority "}${lib.concatStringsSep "," host.hostNames} ${
                if host.publicKey != null then host.publicKey else lib.fileContents host.publicKeyFile
              }"
            ) config.programs.ssh.knownHosts
          );
        }
        // lib.optionalAttrs (config.programs.ssh.extraConfig != "") {
          "ssh/ssh_config.d/10-nixos.conf".text = config.programs.ssh.extraConfig;
        };
    }
    (lib.mkIf cfg.enable {
      services.openssh.authorizedKeysFiles =
        lib.optional cfg.authorizedKeysInHomedir "%h/.ssh/authorized_keys"
        ++ [ "/etc/ssh/authorized_keys.d/%u" ];
      networking.firewall.allowedTCPPorts = lib.optionals cfg.openFirewall cfg.ports;
      environment.etc."ssh/sshd_config.d/10-nixos.conf".text = lib.concatLines lines + cfg.extraConfig;
      environment.etc."ssh/banner" = lib.mkIf (cfg.banner != null) { text = cfg.banner; };
      system.build.standinSshd = true;
    })
  ];
}
