# What an operator says about a cluster: `cluster.*`. Data only: nothing here needs a package set, so that the whole model
# of a cluster can be had without evaluating a system. What is made of it on a node is in ../modules.
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
