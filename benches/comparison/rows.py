"""The rows of the comparison, their programs, and the requirements."""

from dataclasses import dataclass, field
from typing import List, Optional, Tuple

OURS, GO, TOKIO = "actix-nsq", "go-nsq", "tokio-nsq"
ONE_MPUB, PUBS = "floor, one MPUB", "floor, PUBs"
MPUBS = "floor, MPUB"

# The publishers: OURS sends messages to the address of an actor.
HANDLE, UNBATCHED = f"{OURS}, handle", f"{OURS}, without batching"

# The consumers: OURS is an actor that gets one message at a time.
BATCHES, CLOSURE, STREAM = f"{OURS}, batches", f"{OURS}, closure", f"{OURS}, stream"
FINS = "floor, FINs per read"

# Default of nsqd's --max-body-size; the floor's one MPUB must not exceed it.
MAX_BODY = 5 << 20

# A topic without a channel keeps this many messages in memory, and an ephemeral one drops the rest:
# nothing is written to disk, the heap stays constant, and every message is counted.
MEM_QUEUE_SIZE = 10_000


@dataclass(frozen=True)
class Program:
    """A program of a row, with its own flags."""

    name: str
    flags: Tuple[str, ...] = ()

    @property
    def binary(self):
        return self.name.split(",")[0]


@dataclass(frozen=True)
class Goal:
    """A required ratio: `what` of this client to that of `peer`; without a peer `what` itself."""

    what: str  # "rate", "cpu_us_per_message", "p50_us" or "allocs_per_message"
    peer: Optional[str]
    must: float
    aim: float
    program: str = OURS

    @property
    def more_is_better(self):
        return self.what == "rate"

    def text(self):
        what = {
            "rate": f"rate to {self.peer}",
            "cpu_us_per_message": f"CPU per message to {self.peer}",
            "p50_us": f"p50 to {self.peer}",
            "allocs_per_message": "allocations per message",
        }[self.what]
        return what if self.program == OURS else f"{self.program}: {what}"

    def rating(self, ratio):
        if self.what == "allocs_per_message":
            # Those of connecting, divided by all messages, do not count.
            ratio = round(ratio, 2)

        def reached(bound):
            return ratio >= bound if self.more_is_better else ratio <= bound

        return "aim" if reached(self.aim) else "must" if reached(self.must) else "missed"


@dataclass(frozen=True)
class Layers:
    """The layers between the client and the socket, as in nsqd's statistics."""

    tls: bool = False
    snappy: bool = False
    deflate: bool = False

    def options(self, authority):
        """Yields the options for a client, which have the same names in every client."""
        if self.tls:
            yield from ("tls_v1=true", f"tls_root_ca_file={authority}")
        if self.snappy:
            yield "snappy=true"
        if self.deflate:
            yield from ("deflate=true", "deflate_level=6")


class Workload:
    """What the rows have in common: a name, a title, programs and goals."""

    @property
    def floor(self):
        """The first floor among the programs, if any."""
        return next((program.name for program in self.programs if program.binary == "floor"), None)


@dataclass(frozen=True)
class Row(Workload):
    """One workload of publishing."""

    name: str
    title: str
    concurrency: int
    programs: Tuple[Program, ...]
    goals: Tuple[Goal, ...]
    size: int = 200
    mpub: int = 0
    topics: int = 1
    one_core: bool = False
    defer: Optional[str] = None  # delay of each message
    delay_us: int = 0  # of the network, in each direction
    mem_queue_size: int = MEM_QUEUE_SIZE  # per topic
    layers: Optional[Layers] = None

    @property
    def round(self):
        """Maximum number of messages in flight."""
        return self.concurrency * max(self.mpub, 1)

    def flags(self, topic):
        flags = ["--topic", topic, "--concurrency", str(self.concurrency)]
        if self.mpub:
            flags += ["--mpub", str(self.mpub)]
        if self.topics > 1:
            flags += ["--topics", str(self.topics)]
        if self.defer:
            flags += ["--defer", self.defer]
        return flags + ["--json"]


def programs(*floors, ours=(), more=()):
    """Returns this client with these flags, `more` programs of it, the peers and the floors."""
    kinds = {name: ("--kind", "mpub" if name == ONE_MPUB else "pub") for name in floors}
    floors = tuple(Program(name, kinds[name]) for name in floors)
    return (Program(OURS, ours),) + more + (Program(GO), Program(TOKIO)) + floors


BY_HANDLE = (Program(HANDLE, ("--handle",)),)


def layered(name, title, layers, *goals):
    """A row with layers, which the floor does not support."""
    return Row(name, f"64 callers, {title}", 64, programs(), goals, layers=layers)


@dataclass(frozen=True)
class ConsumeRow(Workload):
    """One workload of consuming: the first of `nsqds` has all messages, or `publishers` tasks of the
    same process publish them there.
    """

    name: str
    title: str
    max_in_flight: int
    messages: Optional[int]  # None: calibrated per program
    programs: Tuple[Program, ...]
    goals: Tuple[Goal, ...]
    size: int = 200
    nsqds: int = 1
    handler_time: Optional[str] = None
    publishers: int = 0
    one_core = False
    layers = None

    def flags(self, topic, channel):
        flags = ["--topic", topic, "--channel", channel]
        flags += ["--max-in-flight", str(self.max_in_flight)]
        if self.publishers:
            flags += ["--publishers", str(self.publishers), "--size", str(self.size)]
        if self.handler_time:
            flags += ["--handler-time", self.handler_time]
        return flags + ["--json"]


PUBLISH_ROWS = (
    Row("64", "64 callers", 64, programs(ONE_MPUB, PUBS, more=BY_HANDLE), (
        Goal("rate", ONE_MPUB, 0.64, 0.72),
        Goal("rate", GO, 4.2, 5.5),
        Goal("rate", TOKIO, 2.0, 2.5),
        Goal("cpu_us_per_message", ONE_MPUB, 2.1, 1.7),
        Goal("cpu_us_per_message", GO, 1 / 10, 1 / 14),
        Goal("rate", ONE_MPUB, 0.7, 0.8, HANDLE),
        Goal("allocs_per_message", None, 1.1, 0.1, HANDLE),
    )),
    Row("1024", "1,024 callers", 1024, programs(ONE_MPUB, PUBS, more=BY_HANDLE), (
        Goal("rate", ONE_MPUB, 0.8, 0.9),
        Goal("rate", GO, 8.5, 11),
        Goal("rate", TOKIO, 4.2, 5.5),
        Goal("cpu_us_per_message", GO, 1 / 18, 1 / 25),
    )),
    Row(
        "no-batching", "64 callers, without batching", 64, programs(PUBS, ours=("--no-batching",)),
        (
            Goal("rate", PUBS, 1, 1.1),
            Goal("rate", GO, 1.15, 1.5),
            Goal("cpu_us_per_message", TOKIO, 1.05, 0.9),
            Goal("cpu_us_per_message", GO, 0.65, 0.4),
        ),
    ),
    Row("one-caller", "1 caller, client and nsqd on one core", 1, programs(PUBS), (
        Goal("rate", GO, 1.5, 1.7),
        Goal("p50_us", PUBS, 1.12, 1.06),
        Goal("cpu_us_per_message", GO, 0.57, 0.52),
        Goal("allocs_per_message", None, 7, 4),
    ), one_core=True),
    Row("mpub", "explicit MPUB of 100, 1 caller", 1, programs(MPUBS), (
        Goal("rate", GO, 1.5, 1.7),
    ), mpub=100),
    Row("64x4k", "64 callers, 4 KiB", 64, programs(ONE_MPUB, PUBS), (
        Goal("rate", ONE_MPUB, 0.88, 0.95),
    ), size=4096),
    Row("1024x4k", "1,024 callers, 4 KiB", 1024, programs(ONE_MPUB, PUBS), (
        Goal("rate", ONE_MPUB, 0.8, 0.9),
    ), size=4096),
    Row("topics", "64 callers, 16 topics", 64, programs(ONE_MPUB, PUBS), (
        Goal("rate", GO, 2.2, 3.5),
    ), topics=16),
    # With one caller per topic nothing can be batched.
    Row("500-topics", "500 callers, 500 topics", 500, programs(PUBS), (
        Goal("rate", GO, 1, 1.3),
    ), topics=500, mem_queue_size=100),
    # DPUBs cannot be batched either, and nothing else is published: batching must not harm. The
    # floor reads all responses before it writes again, which is no upper limit on a network.
    Row(
        "deferred", "64 callers, DPUB, round trip of 1 ms", 64,
        programs(more=(Program(UNBATCHED, ("--no-batching",)),)),
        (Goal("rate", UNBATCHED, 0.95, 0.95),), defer="1000ms", delay_us=500,
    ),
    layered("tls", "TLS", Layers(tls=True),
        Goal("rate", GO, 4, 6),
        Goal("cpu_us_per_message", GO, 1 / 10, 1 / 14),
    ),
    layered("snappy", "snappy", Layers(snappy=True),
        Goal("rate", GO, 8, 12),
        Goal("cpu_us_per_message", GO, 1 / 14, 1 / 20),
    ),
    layered("deflate", "deflate of level 6", Layers(deflate=True),
        Goal("rate", GO, 3, 5),
        Goal("cpu_us_per_message", GO, 1 / 4, 1 / 6),
    ),
    layered("tls-snappy", "snappy inside TLS", Layers(tls=True, snappy=True),
        Goal("rate", GO, 8, 12),
        Goal("cpu_us_per_message", GO, 1 / 14, 1 / 20),
    ),
)

CONSUME_ROWS = (
    ConsumeRow("consume", "500,000 messages, 2,500 in flight", 2500, 500_000, (
        Program(OURS, ("--mode", "recipient")),
        Program(BATCHES, ("--mode", "batch")),
        Program(CLOSURE, ("--mode", "closure")),
        Program(STREAM, ("--mode", "stream")),
        Program(GO),
        Program(TOKIO),
        Program(FINS),
    ), (
        Goal("rate", TOKIO, 0.95, 1),
        Goal("cpu_us_per_message", TOKIO, 0.7, 0.6),
        Goal("rate", FINS, 0.85, 0.95),
        Goal("rate", TOKIO, 0.95, 1.05, BATCHES),
        Goal("cpu_us_per_message", TOKIO, 0.7, 0.6, BATCHES),
        Goal("cpu_us_per_message", GO, 1 / 15, 1 / 25, BATCHES),
        Goal("rate", FINS, 0.85, 0.95, BATCHES),
        Goal("rate", GO, 5, 7, CLOSURE),
        Goal("allocs_per_message", None, 2.5, 2.1, CLOSURE),
    )),
    ConsumeRow(
        "pipeline", "64 callers publish what the same process consumes, 2,500 in flight", 2500,
        None, (Program(OURS), Program(GO)), (Goal("rate", GO, 4, 7),), publishers=64,
    ),
    ConsumeRow(
        "one-of-four", "one of four nsqds has messages, 40 in flight, handlers of 20 ms", 40, 3_000,
        (Program(OURS, ("--mode", "closure")), Program(GO), Program(TOKIO)),
        (Goal("rate", GO, 3, 3.5),), nsqds=4, handler_time="20ms",
    ),
)

ROWS = PUBLISH_ROWS + CONSUME_ROWS


@dataclass
class Runs:
    """The reports of the programs of a row, in the order of the rounds."""

    row: Workload
    of: dict = field(default_factory=dict)  # name of the program -> list of reports
    command: str = ""  # what has run them

    def median(self, program, what):
        measured = (run.get(what) for run in self.of[program])
        values: List[float] = sorted(value for value in measured if value is not None)
        if not values:
            return None
        middle = len(values) // 2
        return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2

    def ratio(self, what, program, peer):
        """Returns the ratio of the medians."""
        peers = self.median(peer, what)
        return self.median(program, what) / peers if peers else float("inf")

    def spread(self, program, what="rate"):
        """Returns half of the range, as a share of the median."""
        values = [run[what] for run in self.of[program]]
        return (max(values) - min(values)) / 2 / self.median(program, what)
