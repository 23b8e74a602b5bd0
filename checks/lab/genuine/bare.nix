# A lab node's system after its installation: administrators can log in, and nothing else runs.
{ lib, ... }:
{
  nixpkgs.hostPlatform = lib.mkDefault "x86_64-linux";
  # The installation has given the node its name.
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
  # The installation has made the accounts.
  users.mutableUsers = true;
  users.allowNoPasswordLogin = true;
  system.stateVersion = lib.trivial.release;
}
