{
  imports = [ ../hardware/uefi-disk.nix ];

  cluster.nodes.alder = {
    site = "lyon";
    role = "server";
    tags = [ "storage" ];
    interface = "eno1";
    address.ipv4 = "192.0.2.11";
    address.ipv6 = "2001:db8:1::11";
    wireguard = {
      address = "10.83.1.1";
      publicKey = "n8/vLJcAjTJduA1i++TOAu1P0KyXw1cD5BQWMydJo2U=";
      endpoint = "192.0.2.11:51820";
    };
    nomad.hostVolumes.media.path = "/var/lib/media";
  };
}
