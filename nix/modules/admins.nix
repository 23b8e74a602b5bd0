# The administrators' accounts.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (config.cluster) admins mutableUsers;
in
{
  # With mutable users a password file is read when the account is made, and deploy-passwords makes later changes
  # effective; with immutable ones it is read at every activation. Accounts that leave the configuration go in both cases.
  users = {
    inherit mutableUsers;
    users = lib.mapAttrs (_: admin: {
      isNormalUser = true;
      extraGroups = [ "wheel" ];
      openssh.authorizedKeys = { inherit (admin) keys; };
      hashedPasswordFile = admin.passwordFile;
    }) admins;
  };

  # chpasswd, with which deploy-passwords makes a hash effective: NixOS leaves it out where users are immutable.
  environment.systemPackages = [ pkgs.shadow ];

  security.sudo = {
    enable = true;
    wheelNeedsPassword = true;
    execWheelOnly = true;
  };

  systemd.tmpfiles.settings."10-nixcfg" = {
    "/var/lib/nixcfg".d = {
      mode = "0755";
      user = "root";
      group = "root";
    };
    "/var/lib/nixcfg/passwords".d = {
      mode = "0700";
      user = "root";
      group = "root";
    };
  };
}
