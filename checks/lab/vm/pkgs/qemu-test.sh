# nixpkgs' qemu-kvm, with Debian's folders. The caller chooses the accelerator: see ../test-accelerator.
mkdir -p "$out/bin"
cat >"$out/bin/qemu-kvm" <<SCRIPT
#!$bash/bin/bash
export QEMU_MODULE_DIR=$qemu/lib/qemu
# Without USB, whose controller wakes QEMU a thousand times a second once the firmware has started it.
words=()
for word; do
    case \$word in
    -usb) ;;
    usb-tablet,*) unset 'words[-1]' ;;
    *) words+=("\$word") ;;
    esac
done
exec $qemu/bin/qemu-system-x86_64 -accel "\${NIXCFG_VM_ACCELERATOR:-tcg}" -L $qemu/share/qemu -L $qemu/share/seabios -L $qemu/lib/ipxe/qemu "\${words[@]}"
SCRIPT
cat >"$out/bin/qemu-img" <<SCRIPT
#!$bash/bin/bash
export QEMU_MODULE_DIR=$qemu/lib/qemu
exec $qemu/bin/qemu-img "\$@"
SCRIPT
chmod 755 "$out"/bin/*
