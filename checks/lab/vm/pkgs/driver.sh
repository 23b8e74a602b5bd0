# nixpkgs' own test driver, without its interactive shell.
mkdir -p "$out/bin" "$out/lib/ptpython"
cp -r "$src/test_driver" "$out/lib/"
chmod -R u+w "$out/lib"
# The driver ends a machine by ending the shell that started it. bash replaces itself by QEMU; Debian's dash would leave QEMU behind.
sed -i "s,shell=True,&\, executable=\"$bash/bin/bash\"," "$out/lib/test_driver/machine.py"
: >"$out/lib/ptpython/__init__.py"
echo 'def embed(*_, **__): raise SystemExit("the lab has no ptpython")' >"$out/lib/ptpython/repl.py"
for name in main:nixos-test-driver generate_driver_symbols:generate-driver-symbols; do
    cat >"$out/bin/${name#*:}" <<SCRIPT
#!$bash/bin/bash
export PATH=$qemu/bin:$vde2/bin:$socat/bin:$coreutils/bin:$gnugrep/bin:$gnused/bin:$bash/bin
export PYTHONPATH=$out/lib:$python/lib/python3/dist-packages PYTHONDONTWRITEBYTECODE=1
exec $python/bin/python3 -c 'from test_driver import ${name%%:*}; ${name%%:*}()' "\$@"
SCRIPT
    chmod 755 "$out/bin/${name#*:}"
done
