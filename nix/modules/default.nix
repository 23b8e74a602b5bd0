# What the model of a cluster becomes on a node.
{
  imports = [
    ./host.nix
    ./admins.nix
    ./ssh.nix
    ./nix.nix
    ./journal.nix
  ];
}
