"""Passes Ethernet frames between pairs of TAP devices, later than they came, and not all of them.

usage: relay.py NUMBER...

For each number it creates the devices `d<number>` and `h<number>`, which are the two ends of one
link. It prints `ready`, then reads lines from standard input: `NUMBER DELAY JITTER LOSS`, with the
delay and the jitter of each frame in milliseconds, and the share of frames that is lost in percent.
Frames are never reordered. It ends with its standard input.
"""

import collections
import fcntl
import os
import random
import selectors
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000

# Frames that wait on one way: more than TCP has in flight here.
MAX_WAITING = 10_000


def tap(name):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    return device


class Link:
    """Both ways of one link."""

    def __init__(self, number):
        self.ends = [tap(f"d{number}"), tap(f"h{number}")]
        self.waiting = [collections.deque(), collections.deque()]
        self.delay = self.jitter = self.loss = 0.0

    def receive(self, way, now):
        try:
            while frame := os.read(self.ends[way], 65536):
                if random.random() < self.loss or len(self.waiting[way]) >= MAX_WAITING:
                    continue
                due = now + self.delay + random.random() * self.jitter
                if self.waiting[way]:
                    due = max(due, self.waiting[way][-1][0])
                self.waiting[way].append((due, frame))
        except OSError:
            pass  # nothing more to read, or the device is down

    def send(self, now):
        """Sends what is due. Returns when the next frame is due."""
        next_due = []
        for way, waiting in enumerate(self.waiting):
            while waiting and waiting[0][0] <= now:
                try:
                    os.write(self.ends[1 - way], waiting.popleft()[1])
                except OSError:
                    pass  # the other end is down: the frame is lost
            if waiting:
                next_due.append(waiting[0][0])
        return min(next_due, default=None)


def main():
    links = {number: Link(number) for number in sys.argv[1:]}
    selector = selectors.DefaultSelector()
    for link in links.values():
        for way, end in enumerate(link.ends):
            selector.register(end, selectors.EVENT_READ, (link, way))
    selector.register(sys.stdin, selectors.EVENT_READ, None)
    print("ready", flush=True)
    while True:
        now = time.monotonic()
        dues = [due for link in links.values() if (due := link.send(now)) is not None]
        timeout = max(0.0, min(dues) - now) if dues else None
        for key, _ in selector.select(timeout):
            if key.data is not None:
                link, way = key.data
                link.receive(way, time.monotonic())
                continue
            line = sys.stdin.readline()
            if not line:
                return
            number, delay, jitter, loss = line.split()
            link = links[number]
            link.delay, link.jitter = float(delay) / 1e3, float(jitter) / 1e3
            link.loss = float(loss) / 100


main()
