# shellcheck shell=bash
# Unpacks Debian packages into the lab's cache, for programs that tests need without installing them on the machine.

# A separate apt in DIR for one Debian SUITE, which ignores the packages of this machine.
own_apt() { # DIR ARGUMENT…
    local dir=$1
    shift
    apt-get -q -y -o Dir::State="$dir" -o Dir::State::lists="$dir/lists" -o Dir::State::status="$dir/status" \
        -o Dir::Cache="$dir/cache" -o Dir::Etc::SourceList="$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null -o Acquire::Languages=none \
        -o Debug::NoLocking=true -o APT::Sandbox::User=root "$@"
}

# download DIR SUITE COMMAND…: downloads packages of SUITE by `apt-get COMMAND…` to DIR/cache/archives.
download() {
    local dir=$1 suite=$2
    shift 2
    mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
    : >"$dir/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) $suite main" >"$dir/sources.list"
    cd "$dir/cache/archives" && own_apt "$dir" update && own_apt "$dir" "$@"
}

# unpacked NAME SUITE COMMAND…: downloads by `apt-get COMMAND…` from SUITE, unpacked in $CACHE/NAME/tree. Done once.
unpacked() {
    local name=$1 suite=$2 dir=$CACHE/$1 new=$CACHE/$1.partial
    shift 2
    [ ! -d "$dir" ] || return 0
    say "lab: fetching $name from Debian $suite (once)"
    rm -rf "$new"
    mkdir -p "$new/tree"
    (
        download "$new/apt" "$suite" "$@" || exit
        for package in *.deb; do dpkg-deb -x "$package" "$new/tree" || exit; done
        rm -rf "$new/apt"
    ) >"$CACHE/$name.log" 2>&1 </dev/null ||
        { tail -n 20 "$CACHE/$name.log" >&2; die "$name could not be fetched: see $CACHE/$name.log"; }
    mv "$new" "$dir"
}

# fetched NAME: fails unless `unpacked` has made it. No test waits for a download.
fetched() { [ -d "$CACHE/$1" ] || die "$1 has not been fetched: checks/setup does that, and checks/run before its first stage"; }
