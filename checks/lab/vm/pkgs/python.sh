# Some of its modules are programs as well: they stay.
find "$out/lib" -type f -name '*.py' -exec chmod a-x {} +
rm -rf "$out/etc"
