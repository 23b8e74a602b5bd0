{
  cluster.sites.brest = {
    description = "Attic of the sailing school, Brest";
    gateway.ipv4 = "198.51.100.1";
    gateway.ipv6 = "2001:db8:2::1";
    nameservers = [ "198.51.100.1" ];
  };
}
