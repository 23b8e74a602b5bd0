# Debian's kernel and its modules, where nixpkgs has them. Drivers of devices that QEMU has not are removed, as each costs an emulated
# machine a second. The others are decompressed, for the same reason.
unpack $debs
mkdir -p "$out/lib"
cp tree/boot/vmlinuz-* "$out/bzImage"
cp tree/boot/config-* "$out/config"
cp -a tree/usr/lib/modules "$out/lib/modules"
cd "$out"/lib/modules/* || exit
rm -rf build source kernel/sound
find kernel/drivers -mindepth 1 -maxdepth 1 ! -name block ! -name char ! -name crypto ! -name input ! -name md ! -name net \
    ! -name nvdimm ! -name scsi ! -name tty ! -name virtio -exec rm -rf {} +
find kernel/drivers/net -mindepth 1 -maxdepth 1 -type d ! -name bonding ! -name macvlan ! -name team ! -name vxlan \
    ! -name wireguard -exec rm -rf {} +
find kernel/drivers/scsi -name '*.ko.xz' ! -name 'scsi_*' ! -name 'virtio_scsi.*' -delete
find kernel -name '*.ko.xz' -exec xz --decompress {} +
"$kmod/bin/depmod" -b "$out" "${PWD##*/}"
