{
  imports = [ ../hardware/uefi-disk.nix ];

  cluster.nodes.cedar = {
    site = "brest";
    role = "server";
    tags = [ "edge" ];
    interface = "enp1s0";
    address.ipv4 = "198.51.100.11";
    address.ipv6 = "2001:db8:2::11";
    wireguard = {
      address = "10.83.2.1";
      publicKey = "1YN0Bp1sB+Jz6WYY2PF1cmAaaJeP25/ImUpDsvCDrwc=";
      endpoint = "198.51.100.11:51820";
    };
  };
}
