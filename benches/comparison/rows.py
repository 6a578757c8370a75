"""What is compared: the rows, the programs of each, and what must be reached."""

from dataclasses import dataclass, field
from typing import List, Optional, Tuple

OURS, GO, TOKIO = "actix-nsq", "go-nsq", "tokio-nsq"
FOLDED, PLAIN = "floor, one MPUB", "floor, PUBs"
BATCHED = "floor, MPUB"

# Bytes of one command's body that nsqd takes by default; a floor that folds more into one is refused.
MAX_BODY = 5 << 20


@dataclass(frozen=True)
class Program:
    """One contestant, with the flags that only it needs."""

    name: str
    flags: Tuple[str, ...] = ()

    @property
    def binary(self):
        return "floor" if self.name.startswith("floor") else self.name


@dataclass(frozen=True)
class Goal:
    """A ratio to be reached: `what` of ours to that of `peer`."""

    what: str  # "rate", "cpu_us_per_message" or "p50_us"
    peer: str
    must: float
    aim: float

    @property
    def more_is_better(self):
        return self.what == "rate"

    def text(self):
        return {
            "rate": f"rate to {self.peer}",
            "cpu_us_per_message": f"CPU per message to {self.peer}",
            "p50_us": f"p50 to {self.peer}",
        }[self.what]

    def rating(self, ratio):
        reached = (lambda bound: ratio >= bound) if self.more_is_better else (lambda bound: ratio <= bound)
        return "aim" if reached(self.aim) else "must" if reached(self.must) else "missed"


@dataclass(frozen=True)
class Layers:
    """What lies between the client and the socket, as nsqd tells it, too."""

    tls: bool = False
    snappy: bool = False
    deflate: bool = False

    def options(self, authority):
        """For the client, by the names that go-nsq gave them; the server's certificate is verified."""
        if self.tls:
            yield from ("tls_v1=true", f"tls_root_ca_file={authority}")
        if self.snappy:
            yield "snappy=true"
        if self.deflate:
            yield from ("deflate=true", "deflate_level=6")


@dataclass(frozen=True)
class Row:
    """One workload."""

    name: str
    title: str
    concurrency: int
    programs: Tuple[Program, ...]
    goals: Tuple[Goal, ...]
    size: int = 200
    mpub: int = 0
    topics: int = 1
    one_core: bool = False
    layers: Optional[Layers] = None

    @property
    def floor(self):
        """The first floor among the programs is the one that counts; None where there is none."""
        return next((program.name for program in self.programs if program.binary == "floor"), None)

    @property
    def round(self):
        """Messages that all callers have in flight at once."""
        return self.concurrency * max(self.mpub, 1)

    def flags(self, topic):
        flags = ["--topic", topic, "--concurrency", str(self.concurrency)]
        if self.mpub:
            flags += ["--mpub", str(self.mpub)]
        if self.topics > 1:
            flags += ["--topics", str(self.topics)]
        return flags + ["--json"]


def programs(*floors, ours=()):
    kinds = {FOLDED: ("--kind", "mpub"), PLAIN: ("--kind", "pub"), BATCHED: ("--kind", "pub")}
    floors = tuple(Program(name, kinds[name]) for name in floors)
    return (Program(OURS, ours), Program(GO), Program(TOKIO)) + floors


def layered(name, title, layers, *goals):
    """The floor knows no layers, and is left out."""
    return Row(name, f"64 callers, {title}", 64, programs(), goals, layers=layers)


ROWS = (
    Row("64", "64 callers", 64, programs(FOLDED, PLAIN), (
        Goal("rate", FOLDED, 0.58, 0.7),
        Goal("rate", GO, 4.2, 5.5),
        Goal("rate", TOKIO, 2.0, 2.5),
        Goal("cpu_us_per_message", GO, 1 / 10, 1 / 14),
    )),
    Row("1024", "1,024 callers", 1024, programs(FOLDED, PLAIN), (
        Goal("rate", FOLDED, 0.58, 0.7),
        Goal("rate", GO, 8.5, 11),
        Goal("rate", TOKIO, 4.2, 5.5),
        Goal("cpu_us_per_message", GO, 1 / 18, 1 / 25),
    )),
    Row("no-batching", "64 callers, without batching", 64, programs(PLAIN, ours=("--no-batching",)), (
        Goal("rate", GO, 1.15, 1.5),
        Goal("cpu_us_per_message", GO, 0.65, 0.4),
    )),
    Row("one-caller", "1 caller, client and nsqd on one core", 1, programs(PLAIN), (
        Goal("rate", GO, 1.5, 1.7),
        Goal("p50_us", PLAIN, 1.2, 1.1),
    ), one_core=True),
    Row("mpub", "explicit MPUB of 100, 1 caller", 1, programs(BATCHED), (
        Goal("rate", GO, 1.4, 1.6),
    ), mpub=100),
    Row("64x4k", "64 callers, 4 KiB", 64, programs(FOLDED, PLAIN), (
        Goal("rate", FOLDED, 0.75, 0.95),
    ), size=4096),
    Row("1024x4k", "1,024 callers, 4 KiB", 1024, programs(FOLDED, PLAIN), (
        Goal("rate", FOLDED, 0.7, 0.8),
    ), size=4096),
    Row("topics", "64 callers, 16 topics", 64, programs(FOLDED, PLAIN), (
        Goal("rate", GO, 2.2, 3.5),
    ), topics=16),
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


@dataclass
class Runs:
    """What the programs of a row said, round by round."""

    row: Row
    of: dict = field(default_factory=dict)  # program's name -> list of objects

    def median(self, program, what):
        values: List[float] = sorted(run[what] for run in self.of[program] if run.get(what) is not None)
        if not values:
            return None
        middle = len(values) // 2
        return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2

    def ratio(self, what, program, peer):
        """Of the medians, as anyone can compute it from the table."""
        peers = self.median(peer, what)
        return self.median(program, what) / peers if peers else float("inf")

    def spread(self, program):
        rates = [run["rate"] for run in self.of[program]]
        return (max(rates) - min(rates)) / 2 / self.median(program, "rate")
