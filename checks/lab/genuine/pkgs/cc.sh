# The machine's compiler as a package. Programs that it links use the libraries in the store.
mkdir -p "$out/bin" "$out/nix-support"
wrap() { # NAME PROGRAM
    cat >"$out/bin/$1" <<SCRIPT
#!/bin/sh
PATH=\$PATH:/usr/bin
for argument; do case \$argument in -c | -S | -E | --version) exec $2 "\$@" ;; esac; done
exec $2 "\$@" -Wl,-dynamic-linker,$interpreter -Wl,--disable-new-dtags,-rpath,$libs/lib
SCRIPT
    chmod 555 "$out/bin/$1"
}
for name in gcc cc; do wrap "$name" /usr/bin/gcc; done
for name in g++ c++; do wrap "$name" /usr/bin/g++; done
for name in ar as ld nm objcopy objdump ranlib readelf size strings strip; do ln -s "/usr/bin/$name" "$out/bin/$name"; done
echo 'export CC=gcc CXX=g++ AR=ar LD=ld NM=nm RANLIB=ranlib STRIP=strip' >"$out/nix-support/setup-hook"
