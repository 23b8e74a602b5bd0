"""dns_query.py SERVER PORT NAME: the IPv4 addresses of a name, one a line. Asks once by UDP."""

import random
import socket
import struct
import sys


def question(name, number):
    """A query for an A record (RFC 1035, section 4)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)


def after_name(answer, at):
    """Where a name in an answer ends."""
    while True:
        length = answer[at]
        if length & 0xC0:
            return at + 2
        if length == 0:
            return at + 1
        at += 1 + length


def addresses(answer):
    """The A records of an answer."""
    _, _, questions, count, _, _ = struct.unpack(">HHHHHH", answer[:12])
    at = 12
    for _ in range(questions):
        at = after_name(answer, at) + 4
    for _ in range(count):
        at = after_name(answer, at)
        kind, _, _, length = struct.unpack(">HHIH", answer[at : at + 10])
        at += 10
        if kind == 1:
            yield socket.inet_ntoa(answer[at : at + length])
        at += length


def main():
    server, port, name = sys.argv[1:]
    number = random.randrange(65536)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(10)
        udp.sendto(question(name, number), (server, int(port)))
        answer = udp.recv(4096)
    if answer[:2] != struct.pack(">H", number):
        sys.exit("an answer to another question")
    print("\n".join(addresses(answer)))


main()
