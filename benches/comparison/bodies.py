"""The messages of the rows with TLS or compression: text as services send it, the same lines for every client.

Each is one JSON object of an event. Its field names and its words come again, as they do in such messages; its numbers,
ids and times are its own. So it can be compressed, but not to nothing: deflate makes a fifth of a batch.
"""

import json
import random

# More than what a compressor remembers: no message is one that it has just seen.
COUNT = 4096

KINDS = ("order.created", "order.paid", "order.shipped", "basket.updated", "user.signed_in")
REGIONS = ("eu-west-1", "eu-central-1", "us-east-2", "ap-south-1")
WORDS = "the item was added to basket by customer after payment in full with next day delivery and gift card".split()


def bodies(size):
    """COUNT lines of `size` bytes each, the same for every call."""
    chance = random.Random(7)
    return [body(chance, number, size) for number in range(COUNT)]


def body(chance, number, size):
    event = {
        "id": f"{chance.getrandbits(64):016x}",
        "event": chance.choice(KINDS),
        "at": f"2026-11-28T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}.{chance.randrange(1000):03}Z",
        "user": chance.randrange(1_000_000),
        "amount": chance.randrange(100_000) / 100,
        "region": chance.choice(REGIONS),
        "note": "",
    }
    room = size - len(line(event))
    if room < 0:
        raise ValueError(f"an event takes more than {size} bytes")
    while len(event["note"]) < room:
        event["note"] += chance.choice(WORDS) + " "
    event["note"] = event["note"][:room]
    return line(event)


def line(event):
    return json.dumps(event, separators=(",", ":"))
