# The options that describe a cluster: `cluster.*`. They are data only and need no package set, so a cluster's whole
# model evaluates without any system. ../modules turns them into a node's configuration.
{
  imports = [
    ./cluster.nix
    ./sites.nix
    ./nodes.nix
    ./checks.nix
    ./admins.nix
    ./wireguard.nix
    ./pki.nix
    ./secrets.nix
    ./consul.nix
    ./nomad.nix
    ./remote-unlock.nix
    ./apps.nix
    ./forwards.nix
  ];
}
