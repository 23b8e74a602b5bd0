"""Sends requests to Consul and Nomad like an operator, by TLS with a certificate.

usage: asker.py FOLDER HOST…                  asks Consul for its leader all the time, and counts what fails
       asker.py --get FOLDER APP HOST:PORT PATH    asks once, and prints the answer

FOLDER holds <app>-ca.crt and <app>.pem, the certificate with its key; they are read anew for each request, which has a connection
of its own. Counting goes in turn through the hosts, port 8501, and ends when FOLDER/stop appears or FOLDER is gone: the last line is `<asked> <failed>`,
and there is a line before for each failure.
"""

import http.client
import itertools
import json
import pathlib
import ssl
import sys
import time


def get(folder, app, host, port, path):
    """One answer."""
    context = ssl.create_default_context(cafile=str(folder / f"{app}-ca.crt"))
    context.load_cert_chain(folder / f"{app}.pem")
    # Requests use addresses; each node proves the name in its certificate.
    context.check_hostname = False
    connection = http.client.HTTPSConnection(host, port, timeout=10, context=context)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"{response.status} {body!r}")
    return body


def count(folder, hosts):
    asked, failed = 0, 0
    for host in itertools.cycle(hosts):
        # The parent may have ended and removed the folder.
        if (folder / "stop").exists() or not folder.exists():
            break
        asked += 1
        try:
            if not json.loads(get(folder, "consul", host, 8501, "/v1/status/leader")):
                raise RuntimeError("there is no leader")
        except Exception as error:
            failed += 1
            print(f"{host}: {error!r}", flush=True)
        time.sleep(0.05)
    print(f"{asked} {failed}", flush=True)


def main():
    if sys.argv[1] == "--get":
        folder, app, address, path = sys.argv[2:]
        host, port = address.rsplit(":", 1)
        print(get(pathlib.Path(folder), app, host, int(port), path).decode(), end="")
    else:
        count(pathlib.Path(sys.argv[1]), sys.argv[2:])


if __name__ == "__main__":
    main()
