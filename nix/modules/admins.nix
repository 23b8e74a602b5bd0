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
  # With mutable users, NixOS reads a password file when it makes the account, and deploy-passwords makes later changes
  # effective. With immutable users, NixOS reads it at every activation. In both cases it removes accounts that leave
  # the configuration.
  users = {
    inherit mutableUsers;
    users = lib.mapAttrs (_: admin: {
      isNormalUser = true;
      extraGroups = [ "wheel" ];
      openssh.authorizedKeys = { inherit (admin) keys; };
      hashedPasswordFile = admin.passwordFile;
    }) admins;
  };

  # deploy-passwords makes a hash effective by chpasswd, which NixOS leaves out where users are immutable.
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
