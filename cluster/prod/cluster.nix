# What is the same on every node of the cluster. Any NixOS option may be set here too.
{
  cluster = {
    domain = "prod.example.org";
    secretsPrefix = "example";

    admins = {
      alice.keys = [
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAp6rKRCCoy+y3qKuH0Gqyd34UBtX6mfFtBYmF/D8Iwf alice@example.org"
      ];
      bob.keys = [
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAZOiA3D2WTBmabCpJSslVoEtfMuwUZsbf4snF+kPpCz bob@example.org"
      ];
    };

    wireguard.enable = true;

    # Over the service's own name in Consul; `tlsproxy` listens on the local port.
    forwards.ldap = {
      localPort = 1389;
      host = "bottin.service.prod.consul";
      port = 389;
    };
  };

  system.stateVersion = "26.05";
}
