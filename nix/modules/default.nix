# Turns the model of a cluster into a node's NixOS configuration.
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
