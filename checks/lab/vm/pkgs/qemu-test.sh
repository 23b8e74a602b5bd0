# As nixpkgs' qemu-kvm, with Debian's folders said. Whether there is KVM is tried by who starts it: see ../test-accelerator.
mkdir -p "$out/bin"
cat >"$out/bin/qemu-kvm" <<SCRIPT
#!$bash/bin/bash
export QEMU_MODULE_DIR=$qemu/lib/qemu
# No USB: the firmware starts its controller, which then wakes QEMU up a thousand times a second for as long as the machine runs.
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
