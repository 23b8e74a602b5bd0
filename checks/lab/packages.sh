# shellcheck shell=bash
# Debian packages unpacked into the lab's cache, for programs that tests need and that must not be installed on the machine.

# unpacked NAME SUITE COMMAND…: $CACHE/NAME/tree with what `apt-get COMMAND…` downloads of SUITE, by an apt of its own that knows
# nothing of what this machine has installed. Done once.
unpacked() {
    local name=$1 suite=$2 dir=$CACHE/$1 new=$CACHE/$1.partial
    shift 2
    [ ! -d "$dir" ] || return 0
    say "lab: fetching $name from Debian $suite (once)"
    rm -rf "$new"
    mkdir -p "$new/apt/lists/partial" "$new/apt/cache/archives/partial" "$new/tree"
    : >"$new/apt/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) $suite main" >"$new/apt/sources.list"
    (
        cd "$new/apt/cache/archives" || exit
        apt=(apt-get -q -y -o Dir::State="$new/apt" -o Dir::State::lists="$new/apt/lists" -o Dir::State::status="$new/apt/status"
            -o Dir::Cache="$new/apt/cache" -o Dir::Etc::SourceList="$new/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
            -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null -o Acquire::Languages=none
            -o Debug::NoLocking=true -o APT::Sandbox::User=root)
        "${apt[@]}" update && "${apt[@]}" "$@" || exit
        for package in *.deb; do dpkg-deb -x "$package" "$new/tree" || exit; done
        rm -rf "$new/apt"
    ) >"$CACHE/$name.log" 2>&1 </dev/null ||
        { tail -n 20 "$CACHE/$name.log" >&2; die "$name could not be fetched: see $CACHE/$name.log"; }
    mv "$new" "$dir"
}
