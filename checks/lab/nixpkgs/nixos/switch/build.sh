# Makes a toplevel in $out, from the variables of modules/toplevel.nix.
mkdir -p "$out/etc" "$out/bin" "$out/standin/activation" "$out/standin/checks"

mapfile -t paths <"$textPathsPath"
for index in "${!paths[@]}"; do
  file="text${index}Path"
  mkdir -p "$out/$(dirname -- "${paths[index]}")"
  cp -- "${!file}" "$out/${paths[index]}"
done
while IFS=$'\t' read -r path source; do
  mkdir -p "$out/etc/$(dirname -- "$path")"
  ln -s -- "$source" "$out/etc/$path"
done <"$sourcesPath"
chmod -R u+w "$out/etc"

cp "$copiesPath" "$out/standin/copies"
cp "$dryRunPath" "$out/standin/dry-run"
cp "$notAppliedPath" "$out/standin/not-applied"
cp "$hostKeysPath" "$out/standin/host-keys"
cp "$programsPath" "$out/standin/programs"
ln -s "$users" "$out/standin/users"
ln -s "$scripts" "$out/standin/scripts"
[ -z "$execWheelOnly" ] || touch "$out/standin/exec-wheel-only"
[ -z "$sshd" ] || touch "$out/standin/sshd"
[ -z "$bootLoader" ] || ln -s "$bootLoader" "$out/standin/bootloader"
[ -z "$extraDependencies" ] || echo "$extraDependencies" >"$out/standin/extra-dependencies"

printf %s "$version" >"$out/nixos-version"
printf %s "$platform" >"$out/system"
printf 'systemd %s' "$initInterface" >"$out/init-interface-version"
ln -s "$kernelImage" "$out/kernel"
ln -s "$kernelTree" "$out/kernel-modules"
ln -s "$systemdTree" "$out/systemd"
ln -s "$initrd" "$out/initrd"
ln -s "$sw" "$out/sw"
ln -s "$inhibitors" "$out/switch-inhibitors"

entry() { # FILE SCRIPT: a program of the toplevel, which runs that script of the stand-in for it
  printf '#!/bin/bash\nexec /bin/bash %s %s "$@"\n' "$scripts/$2" "$out" >"$out/$1"
  chmod 555 "$out/$1"
}
entry activate activate.sh
entry init boot.sh
entry bin/switch-to-configuration switch.sh
