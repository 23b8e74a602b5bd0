# Prints a machine's platform, how it boots, whether it runs NixOS, and the hardware configuration that NixOS finds.
set -eu
uname -m
if [ -d /sys/firmware/efi ]; then
    echo efi
else
    root=$(findmnt -nvo SOURCE / 2>/dev/null || true)
    echo "bios $(lsblk -ndpo PKNAME "${root:-/}" 2>/dev/null || true)"
fi
if [ -e /etc/NIXOS ] && command -v nixos-generate-config >/dev/null 2>&1; then
    echo nixos
    nixos-generate-config --show-hardware-config
else
    echo other
fi
