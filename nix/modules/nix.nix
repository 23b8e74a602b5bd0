# The node's own Nix.
{ lib, ... }:
{
  nix = {
    settings = {
      # A user that the daemon trusts could become root without a password. Deployments copy through sudo instead.
      trusted-users = [ "root" ];
      experimental-features = [
        "nix-command"
        "flakes"
      ];
    };

    # Old generations are a node's way back after a bad change; a month is enough to notice one.
    gc = {
      automatic = lib.mkDefault true;
      dates = lib.mkDefault "weekly";
      options = lib.mkDefault "--delete-older-than 30d";
    };
  };
}
