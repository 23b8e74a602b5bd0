# The system that a node of the lab has after its installation: administrators log in, and that is all.
{ lib, ... }:
{
  nixpkgs.hostPlatform = lib.mkDefault "x86_64-linux";
  # The node's own, as the installation left it.
  networking.hostName = "";
  networking.useDHCP = false;
  networking.firewall.enable = false;
  services.openssh.enable = true;
  services.openssh.settings = {
    PasswordAuthentication = false;
    KbdInteractiveAuthentication = false;
    PermitRootLogin = "no";
  };
  security.sudo.wheelNeedsPassword = true;
  nix.settings.experimental-features = [
    "nix-command"
    "flakes"
  ];
  # Accounts were made by hand.
  users.mutableUsers = true;
  users.allowNoPasswordLogin = true;
  system.stateVersion = lib.trivial.release;
}
