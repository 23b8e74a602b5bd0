# The one locale that is in every glibc, as an archive too, as NixOS wants it.
mkdir -p "$out/lib/locale" "$out/etc"
localedef --add-to-archive --prefix="$out/archive" "$out/lib/locale/C.utf8" 2>/dev/null || true
cp tree/etc/rpc "$out/etc/rpc"
