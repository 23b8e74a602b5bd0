# The node's own Nix.
{ lib, ... }:
{
  nix = {
    settings = {
      # Whoever is trusted by the daemon is root in all but name, and would be without a password: deployments copy
      # through sudo instead.
      trusted-users = [ "root" ];
      experimental-features = [
        "nix-command"
        "flakes"
      ];
    };

    # Old generations are the way back of a node that has gone wrong; a month is enough to notice.
    gc = {
      automatic = lib.mkDefault true;
      dates = lib.mkDefault "weekly";
      options = lib.mkDefault "--delete-older-than 30d";
    };
  };
}
