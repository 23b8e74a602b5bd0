# The operations of the tool that are flake apps: name → what it does, in one line.
{
  init = "Write the files of a new cluster, asking for what they need";
  add-node = "Write the files of a new node, with what its machine tells of itself";
  deploy-nixos = "Build and activate the NixOS configuration of a cluster's nodes";
  upgrade-nixos = "Update nixpkgs, show what that changes on each node, and deploy it";
  rollback = "Take a cluster's nodes back to a generation that they have already";
  generations = "List the generations of the systems of a cluster's nodes";
  status = "Tell how a cluster's nodes are: systems, drift, units, leases, certificates, disks";
  next = "Tell what comes next: the commands that bring a cluster to what its files say";
  exec = "Run a command on a cluster's nodes";
  ssh = "Log in to a cluster's node";
  passwd = "Set an administrator's password in the password store, as a hash";
  nomad-scheduler = "Set Nomad's scheduler as cluster.nix has it";
  deploy-apps = "Run the cluster's apps on Nomad";
  app-secrets = "Make the secrets that an app reads from Consul";
  tlsproxy = "Serve the cluster's Nomad and Consul as plain HTTP on this machine";
  gen-pki = "Make the certificates of Consul and Nomad that are missing in the password store";
  deploy-pki = "Bring the certificates of Consul and Nomad to a cluster's nodes";
  pki-status = "Tell what certificates there are, on the nodes and on their ports too, and how long they last";
  deploy-passwords = "Bring the store's password hashes to the nodes, and prove that sudo still works";
  gen-secrets = "Make the cluster's secrets that are missing in the password store";
  deploy-secrets = "Write the cluster's secrets to the nodes, and tell the units that use them";
  rotate-ca = "Replace the authority of Consul or Nomad, step by step, while the cluster runs";
  rotate-gossip = "Replace the key of Consul's or Nomad's gossip while the cluster runs";
}
