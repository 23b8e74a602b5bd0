# Nodes for tests in virtual machines, made of our modules: name → role. The test network numbers them by their names.
{ lib, self }:
roles:
let
  names = lib.attrNames roles;
  nodes = lib.listToAttrs (
    lib.imap1 (number: name: {
      inherit name;
      value = {
        site = "test";
        role = roles.${name};
        address.ipv4 = "192.168.1.${toString number}";
      };
    }) names
  );
in
lib.genAttrs names (name: {
  imports = [ self.nixosModules.node ];

  cluster = {
    name = "vm";
    nodeName = name;
    domain = "vm.example.org";
    sites.test = { };
    inherit nodes;
    admins.alice.keys = [
      "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAp6rKRCCoy+y3qKuH0Gqyd34UBtX6mfFtBYmF/D8Iwf alice@example.org"
    ];
  };

  virtualisation = {
    memorySize = 1536;
    diskSize = 4096;
  };
})
