# What the model of a cluster becomes on a node.
{
  imports = [
    ./host.nix
    ./admins.nix
    ./ssh.nix
    ./nix.nix
    ./journal.nix
    ./network.nix
    ./firewall.nix
    ./wireguard.nix
    ./secrets.nix
    ./pki.nix
    ./consul.nix
    ./nomad.nix
    ./dns.nix
    ./remote-unlock.nix
    ./rollback.nix
  ];
}
