# sudo, PAM and certificates.
# Follows nixos/modules/security/sudo.nix, nixos/modules/security/pam.nix, nixos/modules/security/ca.nix.
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
    text
    ;
  cfg = config.security.sudo;
  rule =
    rule:
    let
      who =
        rule.users
        ++ map (group: if lib.isInt group then "%#${toString group}" else "%${group}") rule.groups;
      name = user: if lib.isInt user then "#${toString user}" else user;
      command =
        one:
        if lib.isString one then
          one
        else
          lib.optionalString (one.options != [ ]) "${lib.concatMapStringsSep ":" lib.id one.options}:"
          + one.command;
    in
    lib.optionalString (rule.commands != [ ]) (
      lib.concatMapStrings (
        one:
        "${name one} ${rule.host}=(${rule.runAs}) ${lib.concatMapStringsSep ", " command rule.commands}\n"
      ) who
    );
  command = types.either types.str (
    types.submodule {
      options = {
        command = mkOption {
          type = types.str;
          description = "The command, or `ALL`.";
        };
        options = mkOption {
          type = types.listOf (
            types.enum [
              "NOPASSWD"
              "PASSWD"
              "NOEXEC"
              "EXEC"
              "SETENV"
              "NOSETENV"
              "LOG_INPUT"
              "NOLOG_INPUT"
              "LOG_OUTPUT"
              "NOLOG_OUTPUT"
              "MAIL"
              "NOMAIL"
              "FOLLOW"
              "NOFLLOW"
              "INTERCEPT"
              "NOINTERCEPT"
            ]
          );
          default = [ ];
          description = "Tags of the command.";
        };
      };
    }
  );
in
{
  options.security = {
    sudo = {
      enable = flag true "Whether sudo is there.";
      package = mkOption {
        type = types.package;
        default = pkgs.sudo;
        defaultText = lib.literalExpression "pkgs.sudo";
        description = "The sudo package; the stand-in uses the machine's.";
      };
      wheelNeedsPassword = flag true "Whether members of wheel are asked for their password.";
      execWheelOnly = flag false "Whether only members of wheel may execute sudo.";
      defaultOptions = strings [ "SETENV" ] "Tags of the rules for root and wheel.";
      keepTerminfo = flag true "Whether TERMINFO is kept.";
      configFile = mkOption {
        type = types.lines;
        internal = true;
        description = "The whole sudoers file.";
      };
      extraConfig = lines "Further lines of sudoers.";
      extraRules = mkOption {
        default = [ ];
        description = "Further rules.";
        type = types.listOf (
          types.submodule {
            options = {
              users = mkOption {
                type = types.listOf (types.either types.str types.int);
                default = [ ];
                description = "Users that may.";
              };
              groups = mkOption {
                type = types.listOf (types.either types.str types.int);
                default = [ ];
                description = "Groups that may.";
              };
              host = text "ALL" "On which host.";
              runAs = text "ALL:ALL" "As whom.";
              commands = mkOption {
                type = types.listOf command;
                description = "What.";
              };
            };
          }
        );
      };
    };
    sudo-rs.enable = flag false "Whether sudo-rs takes the place of sudo.";
    polkit.enable = flag false "Whether polkit is there.";
    rtkit.enable = flag false "Whether rtkit is there.";
    lockKernelModules = flag false "Whether no kernel module can be loaded after boot.";
    protectKernelImage = flag false "Whether the running kernel cannot be replaced.";
    pki = {
      certificates = strings [ ] "Trusted certificates, as PEM.";
      certificateFiles = mkOption {
        type = types.listOf types.path;
        default = [ ];
        description = "Files of trusted certificates.";
      };
    };
    pam = {
      services = mkOption {
        type = types.attrsOf (types.submodule { freeformType = types.attrsOf types.anything; });
        default = { };
        description = "PAM services.";
      };
      loginLimits = mkOption {
        type = types.listOf (
          types.submodule {
            options =
              lib.genAttrs [ "domain" "type" "item" ] (
                name:
                mkOption {
                  type = types.str;
                  description = "The ${name} of the limit.";
                }
              )
              // {
                value = mkOption {
                  type = types.either types.str types.int;
                  description = "The limit.";
                };
              };
          }
        );
        default = [ ];
        description = "Limits of logins.";
      };
    };
  };
  config = lib.mkMerge [
    (lib.mkIf cfg.enable {
      security.sudo.extraRules =
        let
          all =
            who: options:
            who
            // {
              commands = [
                {
                  command = "ALL";
                  inherit options;
                }
              ];
            };
        in
        lib.mkMerge [
          (lib.mkBefore [ (all { users = [ "root" ]; } cfg.defaultOptions) ])
          (lib.mkOrder 600 [
            (all { groups = [ "wheel" ]; } (
              cfg.defaultOptions ++ lib.optional (!cfg.wheelNeedsPassword) "NOPASSWD"
            ))
          ])
        ];
      security.sudo.configFile = lib.mkMerge [
        ''
          # Written by the system's configuration.
          ${lib.concatMapStrings rule cfg.extraRules}''
        (lib.mkAfter cfg.extraConfig)
      ];
      # A copy, as sudo refuses a file that others than root can change, such as one in the store.
      environment.etc."sudoers.d/nixos" = {
        text = cfg.configFile;
        mode = "0440";
      };
      system.build.standinSudoExecWheelOnly = cfg.execWheelOnly;
    })
  ];
}
