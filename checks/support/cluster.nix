{
  outputs = _: {
    clusters.prod = {
      schema = 1;
      name = "prod";
      secretsPrefix = "example";
      nodes.alder = {
        site = "lyon";
        system = "x86_64-linux";
        role = "server";
        configuration = "prod-alder";
        address = {
          ipv4 = "192.0.2.11";
          ipv6 = null;
        };
      };
      pki = {
        perNode = false;
        consul = {
          directory = "/var/lib/consul/pki";
          owner = "consul";
          group = "consul";
          unit = "consul.service";
        };
        nomad = {
          directory = "/var/lib/nomad/pki";
          owner = "root";
          group = "root";
          unit = "nomad.service";
        };
      };
      consul = {
        enable = true;
        datacenter = "prod";
        domain = "consul";
        httpsPort = 8501;
      };
      nomad = {
        enable = true;
        region = "prod";
        httpPort = 4646;
      };
      # more
    };
  };
}
