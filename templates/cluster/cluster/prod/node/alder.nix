{
  # In place of these two, import what nixos-generate-config --show-hardware-config prints on the machine.
  boot.loader.systemd-boot.enable = true;
  fileSystems."/" = {
    device = "/dev/disk/by-label/nixos";
    fsType = "ext4";
  };

  cluster.nodes.alder = {
    site = "lyon";
    role = "server";
    address.ipv4 = "192.0.2.11";
  };
}
