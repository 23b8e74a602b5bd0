"""relay.py A B MILLISECONDS PERCENT: passes Ethernet frames between the interfaces A and B, each after a delay or never.

Stands in for the kernel's netem, which not every kernel has. A frame is delayed by MILLISECONDS in each direction (a round
trip takes twice that) and is lost with a chance of PERCENT in each direction, whatever protocol it carries. Frames keep their
order. The kernel hands over large TCP frames before it cuts them into packets: such a frame is delayed or lost as one.
"""

import collections
import random
import select
import socket
import sys
import time

SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23  # linux/if_packet.h
ETH_P_ALL = 3
MOST_WAITING = 20000  # frames in one direction; more are lost, as in a router's queue


def open_interface(name):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    # The header before each frame carries checksums and segments that the kernel has yet to make.
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    sock.bind((name, ETH_P_ALL))
    sock.setblocking(False)
    return sock


def receive(sock):
    """The frames that wait at an interface."""
    while True:
        try:
            yield sock.recv(1 << 17)
        except BlockingIOError:
            return
        except OSError:  # the interface is down: its node reboots
            time.sleep(0.01)
            return


def send(sock, frame):
    try:
        sock.send(frame)
    except OSError:  # the interface is down or its queue is full: the frame is lost
        pass


def relay(a, b, delay, loss):
    other = {a: b, b: a}
    waiting = {a: collections.deque(), b: collections.deque()}  # by where they go
    while True:
        dues = [queue[0][0] for queue in waiting.values() if queue]
        timeout = max(0, min(dues) - time.monotonic()) if dues else None
        for sock in select.select([a, b], [], [], timeout)[0]:
            for frame in receive(sock):
                queue = waiting[other[sock]]
                if random.random() >= loss and len(queue) < MOST_WAITING:
                    queue.append((time.monotonic() + delay, frame))
        now = time.monotonic()
        for sock, queue in waiting.items():
            while queue and queue[0][0] <= now:
                send(sock, queue.popleft()[1])


if __name__ == "__main__":
    relay(
        open_interface(sys.argv[1]),
        open_interface(sys.argv[2]),
        int(sys.argv[3]) / 1000,
        int(sys.argv[4]) / 100,
    )
