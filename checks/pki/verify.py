"""Verifies a cluster's certificates with OpenSSL, GnuTLS, pkilint and cryptography.

usage: verify.py FOLDER

FOLDER holds certificates, and `expect.json`:
  {"authorities": {"<file>": {"ours": bool, "strict": bool}},
   "leaves": {"<file>": {"ca": "<file>", "server": bool, "names": [...], "addresses": [...]}}}
An authority that is not ours, but OpenSSL's, is not linted; one that is not strict lacks the extension keyUsage, as those
of the original's scripts do, which makes strict verifiers refuse whatever it signs.
A leaf must pass as a client, as a server too where `server` says so, under each of its names; and must fail for
everything else: other names, the other purpose, the other authority.
"""

import contextlib
import datetime
import io
import ipaddress
import json
import pathlib
import subprocess
import sys

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import verification
from pkilint.bin import lint_pkix_cert

ALLOWED = pathlib.Path(__file__).with_name("pkilint-allow.txt")
STRANGE_NAME = "server.elsewhere.consul"
STRANGE_ADDRESS = "192.0.2.1"

passed = 0
failures = []
# The expectations of expect.json, by file.
AUTHORITIES = {}


def check(ok, what, said=""):
    global passed
    if ok:
        passed += 1
    else:
        failures.append(f"{what}\n{said}".rstrip())


def run(*argv, stdin=None):
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True)
    return done.returncode == 0, done.stdout + done.stderr


def openssl(folder, leaf, ca, purpose, *more):
    if AUTHORITIES[ca]["strict"]:
        more += ("-x509_strict",)
    return run(
        "openssl", "verify", "-check_ss_sig", "-no-CApath", "-no-CAstore",
        "-CAfile", str(folder / ca), "-purpose", purpose, *more, str(folder / leaf),
    )


def check_openssl(folder, leaf, expected, others):
    ca = expected["ca"]
    purposes = {"sslclient": True, "sslserver": expected["server"]}
    for purpose, wanted in purposes.items():
        ok, said = openssl(folder, leaf, ca, purpose)
        check(ok == wanted, f"openssl: {leaf} as {purpose}: {'refused' if wanted else 'accepted'}", said)
    purpose = "sslserver" if expected["server"] else "sslclient"
    for name in expected["names"]:
        ok, said = openssl(folder, leaf, ca, purpose, "-verify_hostname", name)
        check(ok, f"openssl: {leaf} as {name}", said)
    for address in expected["addresses"]:
        ok, said = openssl(folder, leaf, ca, purpose, "-verify_ip", address)
        check(ok, f"openssl: {leaf} as {address}", said)
    strange = others["names"] - set(expected["names"]) | {STRANGE_NAME}
    for name in sorted(strange):
        ok, _ = openssl(folder, leaf, ca, purpose, "-verify_hostname", name)
        check(not ok, f"openssl: {leaf} accepted as {name}")
    ok, _ = openssl(folder, leaf, ca, purpose, "-verify_ip", STRANGE_ADDRESS)
    check(not ok, f"openssl: {leaf} accepted as {STRANGE_ADDRESS}")
    for strange in sorted(others["authorities"] - {ca}):
        ok, _ = openssl(folder, leaf, strange, purpose)
        check(not ok, f"openssl: {leaf} accepted under {strange}")


def check_gnutls(folder, leaf, expected, others):
    def certtool(ca, *more):
        return run(
            "certtool", "--verify", "--verify-profile", "medium",
            "--load-ca-certificate", str(folder / ca), "--infile", str(folder / leaf), *more,
        )

    server = ["--verify-purpose", "1.3.6.1.5.5.7.3.1"]
    client = ["--verify-purpose", "1.3.6.1.5.5.7.3.2"]
    ok, said = certtool(expected["ca"], *client)
    check(ok, f"certtool: {leaf} as a client", said)
    ok, said = certtool(expected["ca"], *server)
    check(ok == expected["server"], f"certtool: {leaf} as a server", said)
    for name in expected["names"]:
        ok, said = certtool(expected["ca"], "--verify-hostname", name)
        check(ok, f"certtool: {leaf} as {name}", said)
    ok, _ = certtool(expected["ca"], "--verify-hostname", STRANGE_NAME)
    check(not ok, f"certtool: {leaf} accepted as {STRANGE_NAME}")
    for strange in sorted(others["authorities"] - {expected["ca"]}):
        ok, _ = certtool(strange)
        check(not ok, f"certtool: {leaf} accepted under {strange}")


def check_cryptography(folder, leaf, expected, others):
    if not AUTHORITIES[expected["ca"]]["strict"]:
        return
    certificate = x509.load_pem_x509_certificate((folder / leaf).read_bytes())
    authorities = x509.load_pem_x509_certificates((folder / expected["ca"]).read_bytes())
    builder = verification.PolicyBuilder().store(verification.Store(authorities))
    builder = builder.time(datetime.datetime.now(datetime.timezone.utc))

    def verify(verifier):
        try:
            verifier.verify(certificate, [])
        except verification.VerificationError as error:
            return False, str(error)
        return True, ""

    ok, said = verify(builder.build_client_verifier())
    check(ok, f"cryptography: {leaf} as a client", said)
    subjects = [x509.DNSName(name) for name in expected["names"]]
    subjects += [x509.IPAddress(ipaddress.ip_address(a)) for a in expected["addresses"]]
    for subject in subjects:
        ok, said = verify(builder.build_server_verifier(subject))
        check(ok == expected["server"], f"cryptography: {leaf} as the server {subject.value}", said)
    for name in sorted(others["names"] - set(expected["names"]) | {STRANGE_NAME}):
        ok, _ = verify(builder.build_server_verifier(x509.DNSName(name)))
        check(not ok, f"cryptography: {leaf} accepted as the server {name}")


def check_pkilint(folder, file):
    """Fails on findings at or above NOTICE, except those that the list explains."""
    allowed = {
        line.split()[0] for line in ALLOWED.read_text().splitlines() if line.strip() and not line.startswith("#")
    }
    # Certificates of one file are linted one by one.
    for certificate in x509.load_pem_x509_certificates((folder / file).read_bytes()):
        one = folder / "lint.pem"
        one.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            lint_pkix_cert.main(["lint", "--severity", "NOTICE", "--format", "JSON", str(one)])
        results = json.loads(printed.getvalue())["results"]
        found = {finding["code"] for result in results for finding in result["finding_descriptions"]}
        check(not found - allowed, f"pkilint: {file}: {', '.join(sorted(found - allowed))}")
        one.unlink()


def main():
    folder = pathlib.Path(sys.argv[1])
    expect = json.loads((folder / "expect.json").read_text())
    leaves = expect["leaves"]
    AUTHORITIES.update(expect["authorities"])
    others = {
        "names": {name for expected in leaves.values() for name in expected["names"]},
        "authorities": set(AUTHORITIES),
    }
    for ca, expected in AUTHORITIES.items():
        if expected["ours"]:
            check_pkilint(folder, ca)
    for leaf, expected in sorted(leaves.items()):
        for verifier in (check_openssl, check_gnutls, check_cryptography):
            verifier(folder, leaf, expected, others)
        check_pkilint(folder, leaf)
    for failure in failures:
        print(failure)
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures or not passed else 0


sys.exit(main())
