# Builds a program of this repository by the machine's cargo. It keeps compiled crates, for one build at a time.
cp -r "$src" source
chmod -R u+w source
cd source || exit
home=$(getent passwd "$(id -u)" | cut -d: -f6)
export PATH=$PATH:$home/.cargo/bin:/root/.cargo/bin
if [ -w "$home/.cargo" ]; then export CARGO_HOME=$home/.cargo; else export CARGO_HOME=$PWD/.cargo; fi
[ ! -d "$home/.rustup" ] || export RUSTUP_HOME=${RUSTUP_HOME:-$home/.rustup}
CARGO_TARGET_DIR=/var/tmp/nixcfg-cargo-$(id -u)
export CARGO_INCREMENTAL=0 CARGO_TARGET_DIR
[ -d "$CARGO_TARGET_DIR" ] || mkdir -m 700 "$CARGO_TARGET_DIR"
[ -O "$CARGO_TARGET_DIR" ] || CARGO_TARGET_DIR=$PWD/target
exec 9>"$CARGO_TARGET_DIR/.in-use"
flock 9
cargo build --locked --release --bins
mkdir -p "$out/bin"
install -m 755 -t "$out/bin" "$CARGO_TARGET_DIR/release/$program"
patch_programs "$out" "$libs/lib"
