for applet in $("$out/bin/busybox" --list); do [ -e "$out/bin/$applet" ] || ln -s busybox "$out/bin/$applet"; done
rm -rf "$out/share" "$out/etc"
