{
  cluster.sites.lyon = {
    description = "Cellar of the old printing works, Lyon";
    gateway.ipv4 = "192.0.2.1";
    gateway.ipv6 = "2001:db8:1::1";
    nameservers = [ "192.0.2.1" ];
  };
}
