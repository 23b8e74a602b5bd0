#!/usr/bin/env bash
# pass 1.7.4 (Debian's), with GnuPG 2.2: what it makes of a `.gpg-id` that was edited by hand.
#
# Guessed: entries are encrypted for every key that the file names; a file that cannot be used is an error.
# Seen: pass does not read a last line without a newline, so an entry is encrypted for everybody but that key, without a warning. If that
# is the only line, no key is left and GnuPG asks for one. A comment behind a fingerprint works; behind an address it does not, because
# the blank before it stays part of the name that GnuPG looks for.
# Some editors write no newline at the end, and `pass insert` does not report that a colleague cannot read the entry.
set -euo pipefail
work=$(mktemp -d)
trap 'gpgconf --kill all 2>/dev/null || :; rm -rf "$work"' EXIT
cd "$work"
apt-get download pass >/dev/null 2>&1
dpkg-deb -x pass_*.deb tree
dpkg-deb -f pass_*.deb Version | sed 's/^/pass /'
gpg --version | head -n 1
export GNUPGHOME=$work/keys PASSWORD_STORE_DIR=$work/store
mkdir -m 700 keys store
keys=()
for name in alice bob; do
    gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-gen-key "$name <$name@example.org>" default default never 2>made ||
        { cat made; exit 1; }
    keys+=("$(gpg --batch --list-keys --with-colons "$name" 2>/dev/null | awk -F: '/^fpr/ { print $10; exit }')")
done

# expect KEYS WHAT GPG-ID: checks for how many keys an entry is encrypted; `none` if pass makes no entry.
expect() {
    local seen=none
    printf '%b' "$3" >store/.gpg-id
    rm -f store/entry.gpg
    if echo value | setsid tree/usr/bin/pass insert --multiline --force entry >said 2>&1; then
        seen=$(gpg --batch --list-packets store/entry.gpg 2>/dev/null | grep -c 'pubkey enc packet')
    fi
    printf '%-40s encrypted for %s\n' "$2" "$seen"
    [ "$seen" = "$1" ] || { cat said; echo "$1 before: this has changed"; exit 1; }
}
expect 2 'two lines' "${keys[0]}\n${keys[1]}\n"
expect 1 'two lines, the second without newline' "${keys[0]}\n${keys[1]}"
expect none 'one line without newline' "${keys[0]}"
expect 2 'fingerprints with comments' "${keys[0]} # alice\n${keys[1]} # bob\n"
expect 2 'addresses' "alice@example.org\nbob@example.org\n"
expect none 'an address with a comment' "alice@example.org # alice\nbob@example.org\n"
