# The operations of the tool that are flake apps: name → what it does, in one line.
{
  deploy-nixos = "Build and activate the NixOS configuration of a cluster's nodes";
}
