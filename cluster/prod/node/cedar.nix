{
  imports = [ ../hardware/uefi-disk.nix ];

  cluster.nodes.cedar = {
    site = "brest";
    role = "server";
    tags = [ "edge" ];
    address.ipv4 = "198.51.100.11";
    address.ipv6 = "2001:db8:2::11";
  };
}
