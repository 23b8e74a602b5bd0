{
  imports = [ ../hardware/uefi-disk.nix ];

  cluster.nodes.birch = {
    site = "lyon";
    role = "server";
    tags = [ "storage" ];
    interface = "eno1";
    address.ipv4 = "192.0.2.12";
    address.ipv6 = "2001:db8:1::12";
    wireguard = {
      address = "10.83.1.2";
      publicKey = "0e8yUIFGzgSX3NNruu2uqsgMcj2l56Ma6YFPa1E5LCQ=";
      endpoint = "192.0.2.12:51820";
    };
    nomad.hostVolumes.media.path = "/var/lib/media";
  };
}
