mkdir -p "$out/etc"
cp tree/etc/rpc "$out/etc/rpc"
