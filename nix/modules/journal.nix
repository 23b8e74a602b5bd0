# The journal must not fill a node's disk, and one noisy job must not push out what the others said.
{ lib, ... }:
{
  services.journald.extraConfig = lib.mkDefault ''
    SystemMaxUse=1G
    SystemKeepFree=1G
    MaxRetentionSec=3month
  '';
}
