"""Bodies for the rows with TLS or compression: realistic text, the same for every client.

Each body is the JSON object of an event. Field names and words repeat; numbers, ids and times do
not. Deflate compresses a batch of them to a fifth.
"""

import json
import random

# More than the window of a compressor: a message does not repeat within it.
COUNT = 4096

KINDS = ("order.created", "order.paid", "order.shipped", "basket.updated", "user.signed_in")
REGIONS = ("eu-west-1", "eu-central-1", "us-east-2", "ap-south-1")
WORDS = (
    "the item was added to basket by customer after payment in full "
    "with next day delivery and gift card"
).split()


def bodies(size):
    """Returns COUNT lines of `size` bytes, the same for every call."""
    rng = random.Random(7)
    return [body(rng, number, size) for number in range(COUNT)]


def body(rng, number, size):
    clock = f"{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}"
    event = {
        "id": f"{rng.getrandbits(64):016x}",
        "event": rng.choice(KINDS),
        "at": f"2026-11-28T{clock}.{rng.randrange(1000):03}Z",
        "user": rng.randrange(1_000_000),
        "amount": rng.randrange(100_000) / 100,
        "region": rng.choice(REGIONS),
        "note": "",
    }
    missing = size - len(line(event))
    if missing < 0:
        raise ValueError(f"an event is longer than {size} bytes")
    while len(event["note"]) < missing:
        event["note"] += rng.choice(WORDS) + " "
    event["note"] = event["note"][:missing]
    return line(event)


def line(event):
    return json.dumps(event, separators=(",", ":"))
