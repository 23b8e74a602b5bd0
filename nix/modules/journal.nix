# Limits the journal, so that it cannot fill a node's disk.
{ lib, options, ... }:
let
  limits = {
    SystemMaxUse = "1G";
    SystemKeepFree = "1G";
    MaxRetentionSec = "3month";
  };
in
{
  # Older versions of nixpkgs have only `extraConfig`, newer ones `settings`.
  services.journald =
    if options.services.journald ? settings then
      { settings.Journal = lib.mapAttrs (_: lib.mkDefault) limits; }
    else
      {
        extraConfig = lib.concatStrings (lib.mapAttrsToList (name: value: "${name}=${value}\n") limits);
      };
}
