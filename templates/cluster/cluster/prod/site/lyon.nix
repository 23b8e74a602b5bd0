{
  cluster.sites.lyon = {
    gateway.ipv4 = "192.0.2.1";
    nameservers = [ "192.0.2.1" ];
  };
}
