"""A client that asks a cluster's Consul for its leader all the time, and counts what fails.

usage: asker.py FOLDER HOST…

Each request is a connection of its own, with the certificates that FOLDER holds at that moment (ca.crt; client.pem
with the key too), to the next of the hosts, port 8501. Prints `<asked> <failed>` when FOLDER/stop appears, after each failure.
"""

import http.client
import itertools
import json
import pathlib
import ssl
import sys
import time


def get(host, path, authority, pair):
    """Asks a node, as the holder of a certificate and key."""
    context = ssl.create_default_context(cafile=str(authority))
    context.load_cert_chain(pair)
    # Nodes are reached by address here; each proves the name that its certificate holds on the node itself.
    context.check_hostname = False
    connection = http.client.HTTPSConnection(host, 8501, timeout=10, context=context)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"{response.status} {body!r}")
    return body


def main():
    folder, hosts = pathlib.Path(sys.argv[1]), sys.argv[2:]
    asked, failed = 0, 0
    for host in itertools.cycle(hosts):
        if (folder / "stop").exists():
            break
        asked += 1
        try:
            if not json.loads(get(host, "/v1/status/leader", folder / "ca.crt", folder / "client.pem")):
                raise RuntimeError("there is no leader")
        except Exception as error:
            failed += 1
            print(f"{host}: {error!r}", flush=True)
        time.sleep(0.02)
    print(f"{asked} {failed}", flush=True)


if __name__ == "__main__":
    main()
