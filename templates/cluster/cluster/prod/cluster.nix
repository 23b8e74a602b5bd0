# What is the same on every node. See doc/options.md of nixcfg for all that can be said here.
{
  cluster = {
    domain = "prod.example.org";
    secretsPrefix = "example";
    admins.alice.keys = [
      "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAp6rKRCCoy+y3qKuH0Gqyd34UBtX6mfFtBYmF/D8Iwf alice@example.org"
    ];
  };

  system.stateVersion = "26.05";
}
