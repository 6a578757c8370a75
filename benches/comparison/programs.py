"""The programs: built, and run once at a time."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .nsqd import environment, pinned
from .rows import GO, OURS, TOKIO

# No run takes so long, unless something hangs.
LONGEST = 300

# A calibration run is long enough to tell the rate.
TELLING = 0.15

# So many times at least every caller publishes in a run, or the slowest of a hundred would be a matter of chance.
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
    manifest = root / "benches" / "peers" / "rust" / "Cargo.toml"
    steps = (
        ("nsq_bench", cargo + ["--example", "nsq_bench"], root),
        ("tokio-nsq and the floor", cargo + [f"--manifest-path={manifest}", f"--target-dir={peers}"], root),
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
    }


class Runner:
    """Runs programs against one nsqd, and holds their counts against its."""

    def __init__(self, binaries, nsqd, ours):
        self.binaries, self.nsqd, self.ours = binaries, nsqd, ours

    def command(self, row, program, messages, warmup):
        ours = self.ours if program.name == OURS else []
        counts = ["--messages", str(messages), "--warmup", str(warmup)]
        flags = row.flags(f"bench_{row.name}#ephemeral") + counts + list(program.flags) + ours
        return self.binaries[program.binary] + ["--nsqd-tcp-address", self.nsqd.address] + flags

    def run(self, row, program, messages):
        """One run, with a tenth more messages for the warm-up. Every message is ok, and nsqd has counted each."""
        warmup = max(messages // 10, 1)
        command = pinned(self.nsqd.core) + self.command(row, program, messages, warmup)
        before = self.nsqd.count()
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=LONGEST, env=environment(self.nsqd.core)
        )
        if ended.returncode:
            raise Failed(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
        said = json.loads(ended.stdout.splitlines()[-1])
        if said["ok"] != messages or said["failed"]:
            raise Failed(f"{program.name}: {said['ok']} of {messages} ok, {said['failed']} failed")
        counted = self.nsqd.count() - before
        if counted != messages + warmup:
            raise Failed(f"{program.name} published {messages + warmup} messages, and nsqd counted {counted}")
        return said

    def calibrate(self, row, program, seconds):
        """How many messages, in whole windows, take about so long."""
        messages = row.round
        while True:
            said = self.run(row, program, messages)
            if said["duration_s"] >= TELLING:
                break
            messages *= 4
        windows = max(round(said["rate"] * seconds / row.round), ROUNDS_OF_ALL)
        return windows * row.round


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
