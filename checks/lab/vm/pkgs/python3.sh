# Keeps modules that are executable, which mend_scripts would remove.
find "$out/lib" -type f -name '*.py' -exec chmod a-x {} +
rm -rf "$out/etc"
