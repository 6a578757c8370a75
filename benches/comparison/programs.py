"""Builds the programs and runs them."""

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

# Timeout of a run in seconds.
TIMEOUT = 300

# Minimum duration in seconds of a run that determines the rate.
MIN_CALIBRATION = 0.15

# Prefixes of the user agents; the floor has none.
AGENTS = {OURS: "nsq_bench/", GO: "go-nsq/", TOKIO: "tokio_nsq/"}

# Interval in seconds at which nsqd is asked for its producers.
POLL = 0.02

# Minimum number of publishes per caller in a run; with fewer the 99th percentile is random.
MIN_PUBLISHES = 20


class Failed(Exception):
    """The comparison failed or is invalid."""


def target_folder(root):
    command = ["cargo", "metadata", "--format-version=1", "--no-deps"]
    metadata = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return Path(json.loads(metadata.stdout)["target_directory"])


def build(root, target):
    """Builds all programs, and returns the commands that publish and those that consume."""
    if shutil.which("go") is None:
        os.environ["PATH"] += os.pathsep + "/usr/local/go/bin"
    for tool in ("cargo", "go"):
        if shutil.which(tool) is None:
            raise Failed(f"{tool} is required and not in the PATH")
    peers = target / "peers"
    peers.mkdir(parents=True, exist_ok=True)
    cargo = ["cargo", "build", "--quiet", "--release", "--locked"]
    sources = root / "benches" / "peers"
    others = [f"--manifest-path={sources / 'rust' / 'Cargo.toml'}", f"--target-dir={peers}"]
    steps = (
        ("nsq_bench", cargo + ["--example", "nsq_bench"], root),
        ("tokio-nsq, the floors, the relay and the certificate", cargo + others, root),
        ("go-nsq", ["go", "build", "-o", str(peers / "go-nsq"), "."], sources / "go"),
    )
    for name, command, folder in steps:
        print(f"building {name}", file=sys.stderr)
        environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
        if subprocess.run(command, cwd=folder, env=environment).returncode:
            raise Failed(f"{name} cannot be built")
    ours, go = str(target / "release" / "examples" / "nsq_bench"), str(peers / "go-nsq")
    publishers = {
        OURS: [ours, "publish"],
        GO: [go],
        TOKIO: [str(peers / "release" / "tokio_nsq")],
        "floor": [str(peers / "release" / "floor")],
        "certificate": [str(peers / "release" / "certificate")],
        "relay": [str(peers / "release" / "relay")],
    }
    consumers = {
        OURS: [ours, "consume"],
        GO: [go, "consume"],
        TOKIO: [str(peers / "release" / "consume_tokio_nsq")],
        "floor": [str(peers / "release" / "consume_floor")],
    }
    return publishers, consumers


def prepare(binaries, folder, sizes):
    """Writes a certificate for nsqd, and the bodies for the rows that read them from a file."""
    if subprocess.run(binaries["certificate"] + [str(folder)]).returncode:
        raise Failed("cannot create a certificate")
    for size in sizes:
        bodies_file(folder, size).write_text("".join(f"{body}\n" for body in bodies(size)))


def bodies_file(folder, size):
    return Path(folder) / f"bodies-{size}.txt"


class Runner:
    """Runs programs with one nsqd, and compares their counts with those of nsqd."""

    def __init__(self, binaries, nsqd, ours, prepared, address=None):
        """`ours` are options for this client; `prepared` is the folder of `prepare`; `address` is
        that of a relay to nsqd.
        """
        self.binaries, self.nsqd, self.ours, self.prepared = binaries, nsqd, ours, prepared
        self.address = address or nsqd.address
        self.tls = {}

    def command(self, row, program, messages, warmup):
        ours = self.ours if program.binary == OURS else []
        if row.layers:
            shared = row.layers.options(f"{self.prepared}/ca.pem")
            ours = [part for option in shared for part in ("--producer-opt", option)] + ours
        counts = ["--messages", str(messages), "--warmup", str(warmup)]
        body = ["--size", str(row.size)]
        if row.layers:
            body = ["--bodies", str(bodies_file(self.prepared, row.size))]
        flags = row.flags(f"bench_{row.name}#ephemeral") + body + counts
        address = ["--nsqd-tcp-address", self.address]
        return self.binaries[program.binary] + address + flags + list(program.flags) + ours

    def run(self, row, program, messages, meanwhile=None):
        """Runs a program, with a tenth more messages as warm-up.

        Fails if a message is not ok, or if nsqd has not counted it.
        """
        warmup = max(messages // 10, 1)
        command = pinned(self.nsqd.core) + self.command(row, program, messages, warmup)
        before = self.nsqd.count()
        report = report_of(command, messages, meanwhile, environment(self.nsqd.core))
        published, counted = messages + warmup, self.nsqd.count() - before
        if counted != published:
            raise Failed(f"{program.name} published {published} messages, nsqd counted {counted}")
        report["tls"] = self.tls.get((row.name, program.name))
        return report

    def calibrate(self, row, program, seconds):
        """Returns the number of messages, in whole windows, that take about `seconds`.

        Fails if nsqd reports other layers than those of the row.
        """
        seen = []

        def run(messages):
            return self.run(row, program, messages, lambda: seen.extend(self.nsqd.producers()))

        report = calibrated(run, row.round)
        self.tls[row.name, program.name] = layers_of(row, program, seen)
        windows = max(round(report["rate"] * seconds / row.round), MIN_PUBLISHES)
        return windows * row.round


def calibrated(run, messages):
    """Calls `run` with more and more messages, until its report determines the rate."""
    while True:
        report = run(messages)
        if report["duration_s"] >= MIN_CALIBRATION:
            return report
        messages *= 4


def report_of(command, messages, meanwhile=None, env=None):
    """Runs a command, and returns its report. Fails if not every message is ok."""
    code, out, err = execute(command, meanwhile, env)
    if code:
        raise Failed(f"{' '.join(command)} exited with {code}:\n{out}{err}")
    report = json.loads(out.splitlines()[-1])
    ok, failed = report["ok"], report["failed"]
    if ok != messages or failed:
        raise Failed(f"{' '.join(command)}: {ok} of {messages} ok, {failed} failed")
    return report


def execute(command, meanwhile, env):
    """Runs a command, and calls `meanwhile` at intervals until it exits."""
    deadline = time.monotonic() + TIMEOUT
    with subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, env=env) as process:
        try:
            while True:
                try:
                    out, err = process.communicate(timeout=POLL if meanwhile else TIMEOUT)
                    return process.returncode, out, err
                except subprocess.TimeoutExpired:
                    if time.monotonic() > deadline:
                        raise
                    meanwhile()
        except BaseException:
            process.kill()
            raise


def layers_of(row, program, seen):
    """Returns TLS version and cipher, if any. Fails if nsqd reports other layers than the row's."""
    agent = AGENTS.get(program.binary, "")
    seen = [producer for producer in seen if producer["user_agent"].startswith(agent)]
    if not seen:
        raise Failed(f"{program.name}, {row.title}: nsqd did not list it as a producer")
    expected = row.layers or Layers()
    for producer in seen:
        found = Layers(producer["tls"], producer["snappy"], producer["deflate"])
        if found != expected:
            raise Failed(f"{program.name}, {row.title}: nsqd reports {found}")
    if not expected.tls:
        return None
    last = seen[-1]
    return f"{last['tls_version']} with {cipher(last['tls_cipher_suite'])}"


def cipher(name):
    """Returns the name of a cipher; nsqd knows only the names up to TLS 1.2."""
    known = {
        "4865": "TLS_AES_128_GCM_SHA256",
        "4866": "TLS_AES_256_GCM_SHA384",
        "4867": "TLS_CHACHA20_POLY1305_SHA256",
    }
    return known.get(name.replace("Unknown ", ""), name)


def writes_per_publish(runner, row, program):
    """Counts the socket writes per publish with strace; None without a working strace."""
    if shutil.which("strace") is None:
        return None
    messages, warmup = 2000, 200
    with tempfile.NamedTemporaryFile(mode="r", prefix="actix-nsq-strace-", suffix=".txt") as trace:
        calls = "trace=write,writev,sendto,sendmsg"
        strace = ["strace", "-f", "-y", "-s", "8", "-e", calls, "-o", trace.name]
        command = strace + runner.command(row, program, messages, warmup)
        if subprocess.run(command, capture_output=True, timeout=TIMEOUT).returncode:
            return None
        to_socket = re.compile(r"\b(write|writev|sendto|sendmsg)\(\d+<(socket|TCP)")
        return sum(1 for line in trace if to_socket.search(line)) / (messages + warmup)
