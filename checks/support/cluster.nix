{
  outputs = _: {
    clusters.prod = {
      schema = 1;
      name = "prod";
      secretsPrefix = "example";
      mutableUsers = true;
      nodes =
        builtins.mapAttrs
          (
            name:
            { role, ipv4 }:
            {
              inherit role;
              site = "lyon";
              system = "x86_64-linux";
              configuration = "prod-${name}";
              address = {
                inherit ipv4;
                ipv6 = null;
              };
            }
          )
          {
            alder = {
              role = "server";
              ipv4 = "192.0.2.11";
            };
            birch = {
              role = "client";
              ipv4 = "192.0.2.12";
            };
            cedar = {
              role = "server";
              ipv4 = "198.51.100.11";
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
