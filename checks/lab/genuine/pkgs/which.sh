mv "$out/bin/which.debianutils" "$out/which"
rm -rf "$out"/bin/* "$out/share"
mv "$out/which" "$out/bin/which"
