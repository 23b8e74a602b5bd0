# nixpkgs' own program, built by the machine's cargo from crates of the registry. nixpkgs takes one crate, rust-ini, from a Git commit; the
# registry has the version that was published after it.
cp -r "$source" source
chmod -R u+w source
cd source || exit
[ -e Cargo.toml ] || cd src || exit
sed -i 's|^rust-ini = { git = .*\[$|rust-ini = { version = "=0.21.3", features = [|
    s|^dbus = .*|dbus = { version = "0.9.7", features = ["vendored"] }|
    s|^\[build-dependencies\]|&\ndbus = { version = "0.9.7", features = ["vendored"] }|' Cargo.toml
grep -q '^dbus = .*vendored' Cargo.toml && ! grep -q 'git = ' Cargo.toml ||
    { echo "this version of nixpkgs' switch-to-configuration has other crates" >&2; exit 1; }
# That version has more options.
sed -i '/^ *ParseOption {/,/^ *}/s/^\( *\)}/\1..ParseOption::default() }/' src/main.rs
home=$(getent passwd "$(id -u)" | cut -d: -f6)
export PATH=$PATH:$home/.cargo/bin:/root/.cargo/bin
if [ -w "$home/.cargo" ]; then export CARGO_HOME=$home/.cargo; else export CARGO_HOME=$PWD/.cargo; fi
[ ! -d "$home/.rustup" ] || export RUSTUP_HOME=${RUSTUP_HOME:-$home/.rustup}
# Debian's systemd has no files that describe its D-Bus interfaces, but prints the descriptions.
export SYSTEMD_DBUS_INTERFACE_DIR=$PWD/interfaces
mkdir interfaces
"$systemd/lib/systemd/systemd" --bus-introspect /org/freedesktop/systemd1 >interfaces/org.freedesktop.systemd1.Manager.xml
"$systemd/lib/systemd/systemd-logind" --bus-introspect /org/freedesktop/login1 >interfaces/org.freedesktop.login1.Manager.xml
export RUSTFLAGS="--remap-path-prefix=$CARGO_HOME=/cargo --remap-path-prefix=$PWD=/source --remap-path-prefix=$source=/source"
export CARGO_TARGET_DIR=$PWD/target
# Without optimisation, as it is started once in a switch, and the build takes longer.
CARGO_PROFILE_RELEASE_OPT_LEVEL=0 cargo build --release
mkdir -p "$out/bin"
install -m 755 target/release/switch-to-configuration "$out/bin/"
strip "$out/bin/switch-to-configuration"
patch_programs "$out" "$libs/lib"
