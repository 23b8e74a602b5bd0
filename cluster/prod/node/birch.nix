{
  imports = [ ../hardware/uefi-disk.nix ];

  cluster.nodes.birch = {
    site = "lyon";
    role = "server";
    tags = [ "storage" ];
    address.ipv4 = "192.0.2.12";
    address.ipv6 = "2001:db8:1::12";
  };
}
