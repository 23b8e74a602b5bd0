# Remote access for administrators, by key; never for root.
{ config, lib, ... }:
let
  node = config.cluster.nodes.${config.cluster.nodeName};
in
{
  services.openssh = {
    enable = true;
    ports = [ node.ssh.port ];
    settings = {
      PasswordAuthentication = false;
      KbdInteractiveAuthentication = false;
      PermitRootLogin = "no";
      X11Forwarding = lib.mkDefault false;
    };
  };
}
