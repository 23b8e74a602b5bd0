# The journal must not fill a node's disk, and one noisy job must not push out what the others said.
{ lib, options, ... }:
let
  limits = {
    SystemMaxUse = "1G";
    SystemKeepFree = "1G";
    MaxRetentionSec = "3month";
  };
in
{
  # The option was free text before it was made of settings; both kinds of nixpkgs are in use.
  services.journald =
    if options.services.journald ? settings then
      { settings.Journal = lib.mapAttrs (_: lib.mkDefault) limits; }
    else
      {
        extraConfig = lib.concatStrings (lib.mapAttrsToList (name: value: "${name}=${value}\n") limits);
      };
}
