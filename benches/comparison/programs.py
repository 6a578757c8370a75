"""The programs: built, and run once at a time."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from subprocess import PIPE

from .bodies import bodies
from .nsqd import environment, pinned
from .rows import GO, OURS, TOKIO, Layers

# No run takes so long, unless something hangs.
LONGEST = 300

# A calibration run is long enough to tell the rate.
TELLING = 0.15

# What begins the name by which nsqd knows a client; the floor gives none.
AGENTS = {OURS: "nsq_bench/", GO: "go-nsq/", TOKIO: "tokio_nsq/"}

# So often nsqd is asked meanwhile who publishes.
GLANCE = 0.02

# Minimum number of publishes of each caller in a run; with fewer the 99th percentile is a matter of chance.
ROUNDS_OF_ALL = 20


class Failed(Exception):
    """The comparison cannot be held, or is not sound."""


def target_folder(root):
    said = subprocess.run(
        ["cargo", "metadata", "--format-version=1", "--no-deps"], cwd=root, capture_output=True, text=True, check=True
    )
    return Path(json.loads(said.stdout)["target_directory"])


def build(root, target):
    """Builds all of them, and returns where each is."""
    if shutil.which("go") is None:
        os.environ["PATH"] += os.pathsep + "/usr/local/go/bin"
    for tool in ("cargo", "go"):
        if shutil.which(tool) is None:
            raise Failed(f"{tool} is needed, and not in the PATH")
    peers = target / "peers"
    peers.mkdir(parents=True, exist_ok=True)
    cargo = ["cargo", "build", "--quiet", "--release", "--locked"]
    others = [f"--manifest-path={root / 'benches' / 'peers' / 'rust' / 'Cargo.toml'}", f"--target-dir={peers}"]
    steps = (
        ("nsq_bench", cargo + ["--example", "nsq_bench"], root),
        ("tokio-nsq, the floor and the certificate", cargo + others, root),
        ("go-nsq", ["go", "build", "-o", str(peers / "go-nsq"), "."], root / "benches" / "peers" / "go"),
    )
    for name, command, folder in steps:
        print(f"building {name}", file=sys.stderr)
        environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
        if subprocess.run(command, cwd=folder, env=environment).returncode:
            raise Failed(f"{name} cannot be built")
    return {
        OURS: [str(target / "release" / "examples" / "nsq_bench"), "publish"],
        GO: [str(peers / "go-nsq")],
        TOKIO: [str(peers / "release" / "tokio_nsq")],
        "floor": [str(peers / "release" / "floor")],
        "certificate": [str(peers / "release" / "certificate")],
    }


def prepare(binaries, folder, sizes):
    """A certificate for nsqd, and the bodies of the rows that take them from a file."""
    if subprocess.run(binaries["certificate"] + [str(folder)]).returncode:
        raise Failed("no certificate could be made")
    for size in sizes:
        bodies_file(folder, size).write_text("".join(f"{body}\n" for body in bodies(size)))


def bodies_file(folder, size):
    return Path(folder) / f"bodies-{size}.txt"


class Runner:
    """Runs programs against one nsqd, and holds their counts against its."""

    def __init__(self, binaries, nsqd, ours, prepared):
        """`ours` are options of this client; `prepared` is the folder that has what clients read."""
        self.binaries, self.nsqd, self.ours, self.prepared = binaries, nsqd, ours, prepared
        self.tls = {}

    def command(self, row, program, messages, warmup):
        ours = self.ours if program.name == OURS else []
        if row.layers:
            shared = row.layers.options(f"{self.prepared}/ca.pem")
            ours = [part for option in shared for part in ("--producer-opt", option)] + ours
        counts = ["--messages", str(messages), "--warmup", str(warmup)]
        body = ["--bodies", str(bodies_file(self.prepared, row.size))] if row.layers else ["--size", str(row.size)]
        flags = row.flags(f"bench_{row.name}#ephemeral") + body + counts + list(program.flags) + ours
        return self.binaries[program.binary] + ["--nsqd-tcp-address", self.nsqd.address] + flags

    def run(self, row, program, messages, meanwhile=None):
        """One run, with a tenth more messages for the warm-up. Every message is ok, and nsqd has counted each."""
        warmup = max(messages // 10, 1)
        command = pinned(self.nsqd.core) + self.command(row, program, messages, warmup)
        before = self.nsqd.count()
        code, out, err = self.ended(command, meanwhile)
        if code:
            raise Failed(f"{' '.join(command)} ended with {code}:\n{out}{err}")
        said = json.loads(out.splitlines()[-1])
        if said["ok"] != messages or said["failed"]:
            raise Failed(f"{program.name}: {said['ok']} of {messages} ok, {said['failed']} failed")
        counted = self.nsqd.count() - before
        if counted != messages + warmup:
            raise Failed(f"{program.name} published {messages + warmup} messages, and nsqd counted {counted}")
        return said

    def ended(self, command, meanwhile):
        """Runs it to its end, and calls `meanwhile` now and then until that."""
        end = time.monotonic() + LONGEST
        with subprocess.Popen(
            command, stdout=PIPE, stderr=PIPE, text=True, env=environment(self.nsqd.core)
        ) as process:
            try:
                while True:
                    try:
                        out, err = process.communicate(timeout=GLANCE if meanwhile else LONGEST)
                        return process.returncode, out, err
                    except subprocess.TimeoutExpired:
                        if time.monotonic() > end:
                            raise
                        meanwhile()
            except BaseException:
                process.kill()
                raise

    def calibrate(self, row, program, seconds):
        """How many messages, in whole windows, take about so long. Meanwhile nsqd tells what layers it sees."""
        messages = row.round
        seen = []
        while True:
            said = self.run(row, program, messages, lambda: seen.extend(self.nsqd.producers()))
            if said["duration_s"] >= TELLING:
                break
            messages *= 4
        self.tls[row.name, program.name] = layers_of(row, program, seen)
        windows = max(round(said["rate"] * seconds / row.round), ROUNDS_OF_ALL)
        return windows * row.round


def layers_of(row, program, seen):
    """What TLS nsqd saw, if any. All producers of the program have the layers of the row, or this fails."""
    seen = [producer for producer in seen if producer["user_agent"].startswith(AGENTS.get(program.name, ""))]
    if not seen:
        raise Failed(f"{program.name}, {row.title}: nsqd did not see it publish")
    expected = row.layers or Layers()
    for producer in seen:
        found = Layers(producer["tls"], producer["snappy"], producer["deflate"])
        if found != expected:
            raise Failed(f"{program.name}, {row.title}: nsqd sees {found}")
    last = seen[-1]
    return f"{last['tls_version']} with {cipher(last['tls_cipher_suite'])}" if expected.tls else None


def cipher(name):
    """nsqd names only those of TLS 1.2 and before."""
    known = {"4865": "TLS_AES_128_GCM_SHA256", "4866": "TLS_AES_256_GCM_SHA384", "4867": "TLS_CHACHA20_POLY1305_SHA256"}
    return known.get(name.replace("Unknown ", ""), name)


def writes_per_publish(runner, row, program):
    """How many writes to a socket a publish takes, seen by strace; None where there is none."""
    if shutil.which("strace") is None:
        return None
    messages, warmup = 2000, 200
    with tempfile.NamedTemporaryFile(mode="r", prefix="actix-nsq-strace-", suffix=".txt") as trace:
        strace = ["strace", "-f", "-y", "-s", "8", "-e", "trace=write,writev,sendto,sendmsg", "-o", trace.name]
        command = strace + runner.command(row, program, messages, warmup)
        if subprocess.run(command, capture_output=True, timeout=LONGEST).returncode:
            return None
        to_socket = re.compile(r"\b(write|writev|sendto|sendmsg)\(\d+<(socket|TCP)")
        return sum(1 for line in trace if to_socket.search(line)) / (messages + warmup)
