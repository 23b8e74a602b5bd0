# cargo for buildRustPackage. It uses the crates and the settings of the account that builds. It keeps compiled
# dependencies in a folder that only this account can write, for one build at a time.
cargoConfigure() {
  local home
  home=$(getent passwd "$(id -u)" | cut -d: -f6)
  PATH=$PATH:$home/.cargo/bin:/root/.cargo/bin
  command -v cargo >/dev/null || { echo "cargo is not on this machine" >&2; return 127; }
  if [ -w "$home/.cargo" ]; then export CARGO_HOME=$home/.cargo; else export CARGO_HOME=$NIX_BUILD_TOP/.cargo; fi
  # rustup finds its toolchains by the home folder.
  [ -d "$home/.rustup" ] && export RUSTUP_HOME=${RUSTUP_HOME:-$home/.rustup}
  if [ -n "${lockFile:-}" ]; then
    cmp -s "$lockFile" Cargo.lock || { echo "Cargo.lock in the source is not cargoLock.lockFile" >&2; return 1; }
  fi
  CARGO_TARGET_DIR=/var/tmp/nixcfg-cargo-$(id -u)
  mkdir -p -m 700 "$CARGO_TARGET_DIR"
  [ -O "$CARGO_TARGET_DIR" ] || CARGO_TARGET_DIR=$NIX_BUILD_TOP/target
  mkdir -p "$CARGO_TARGET_DIR"
  export CARGO_TARGET_DIR
  exec {targetLock}>"$CARGO_TARGET_DIR/.in-use"
  flock "$targetLock"
  # Earlier builds must not change the binary.
  export CARGO_INCREMENTAL=0
}
cargoProfile() { [ "${buildType:-release}" = release ] && echo --release; }
cargoBuild() {
  cargo build --locked $(cargoProfile) $cargoFlags
}
cargoCheck() {
  cargo test --locked $(cargoProfile) $cargoFlags ${cargoTestFlags:-} -- ${checkFlags:-}
}
cargoInstall() {
  local one
  mkdir -p "$out/bin"
  # Installs what cargo reports, as the folder also has programs of other builds.
  cargo build --locked $(cargoProfile) $cargoFlags --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | while read -r one; do install -m 555 "$one" "$out/bin/"; done
  [ -n "$(ls -A "$out/bin")" ] || { echo "cargo built no program" >&2; return 1; }
}
