#!/usr/bin/env bash
# Nix 2.8.0 (Debian bookworm's nix-bin), in a clean Git repository whose flake has one input; by hand 2.26.3 and 2.34.8 as well.
#
# Guessed: `--override-input` changes the input alone, so `self.rev` of the flake stays: its tree is clean, and with
# --no-write-lock-file nothing is written.
# Seen: `self.rev` and `self.shortRev` are gone, and newer versions set no `self.dirtyRev` for them either, while `nix flake metadata`
# with the same arguments still reports the revision. A flake that builds its version from `self.rev or "dirty"` calls a clean checkout
# dirty, and packages that contain the version are others than those without the override.
set -euo pipefail
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"
# nix-bin and the libraries that it depends on.
needs=$(apt-cache depends --no-recommends --no-suggests nix-bin | sed -n 's/^ *Depends: \(lib[^ <]*\)$/\1/p')
apt-get download nix-bin $needs >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" tree; done
dpkg-deb -f nix-bin_*.deb Package Version | sed 's/^[A-Za-z]*: //' | paste -sd' '
libraries=$work/tree/usr/lib/$(uname -m)-linux-gnu
export HOME=$work/home LD_LIBRARY_PATH=$libraries GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export NIX_CONF_DIR=$work NIX_CONFIG='experimental-features = nix-command flakes
build-users-group =
sandbox = false
substituters =
flake-registry ='
mkdir home flake input other
nix() { tree/usr/bin/nix --store "$work/store" "$@"; }

for input in input other; do echo '{ outputs = _: { }; }' >$input/flake.nix; done
cat >flake/flake.nix <<FLAKE
{
  inputs.input.url = "path:$work/input";
  outputs = { self, input }: {
    seen = builtins.toJSON { rev = self.rev or null; shortRev = self.shortRev or null; dirtyRev = self.dirtyRev or null; };
  };
}
FLAKE
git -C flake init -q
git -C flake add flake.nix
nix flake lock "git+file://$work/flake" 2>/dev/null
git -C flake add flake.lock
git -C flake -c user.name=a -c user.email=a@example.org commit -qm one
revision=$(git -C flake rev-parse HEAD)

override=(--no-write-lock-file --override-input input "path:$work/other")
plain=$(nix eval --raw "git+file://$work/flake#seen" 2>/dev/null)
overridden=$(nix eval --raw "${override[@]}" "git+file://$work/flake#seen" 2>/dev/null)
told=$(nix flake metadata --json "${override[@]}" "git+file://$work/flake" 2>/dev/null | grep -o '"revision":"[0-9a-f]*"')
printf '%-36s %s\n' 'without --override-input' "$plain" 'with --override-input' "$overridden" 'flake metadata with it' "$told"
[ -z "$(git -C flake status --porcelain)" ] || { echo "the tree was changed"; exit 1; }
[[ $plain == *"$revision"* ]] || { echo "a clean tree without an override has no revision: this has changed"; exit 1; }
[[ $told == *"$revision"* ]] || { echo "metadata tells no revision: this has changed"; exit 1; }
[ "$overridden" = '{"dirtyRev":null,"rev":null,"shortRev":null}' ] || { echo "an override keeps the revision: this has changed"; exit 1; }
