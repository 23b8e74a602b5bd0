# The administrators' accounts.
{ config, lib, ... }:
let
  inherit (config.cluster) admins;
in
{
  # Users that were made by hand, and passwords that were set by hand, stay. It is also what cannot lock anyone out: with
  # immutable users an administrator whose password file is missing is locked at the next activation, on every node at
  # once; with mutable ones the file is read when the account is made, and deploy-passwords makes later changes effective.
  # Accounts that leave the configuration are removed in both cases.
  users.mutableUsers = lib.mkDefault true;

  users.users = lib.mapAttrs (_: admin: {
    isNormalUser = true;
    extraGroups = [ "wheel" ];
    openssh.authorizedKeys = { inherit (admin) keys; };
    hashedPasswordFile = admin.passwordFile;
  }) admins;

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
