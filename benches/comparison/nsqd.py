"""A real nsqd: found or built as the tests do it, on data in memory, asked how many messages it has."""

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

# A topic without a channel keeps this many messages in memory, and an ephemeral one drops the rest: nothing is written
# to disk, the heap stays constant, and every message is counted. nsqd logs the end of a compressed connection as an
# error, hence the log level.
FLAGS = ["--mem-queue-size=10000", "--log-level=fatal"]

PATIENCE = 10


def find(root, target):
    """The program that NSQD_BIN names, or one in the PATH, or the one that the tests have built, or a new one."""
    named = os.environ.get("NSQD_BIN")
    if named:
        return named
    known = shutil.which("nsqd") or next(
        (str(path) for path in (target / "nsqd" / "nsqd", target / "peers" / "nsqd") if path.is_file()), None
    )
    if known:
        return known
    program = target / "peers" / "nsqd"
    print("building nsqd", file=sys.stderr)
    subprocess.run(
        ["go", "build", "-o", str(program), "github.com/nsqio/nsq/apps/nsqd"],
        cwd=root / "tests" / "nsqd",
        env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
        check=True,
    )
    return str(program)


class Nsqd:
    """A running nsqd. Leaving the `with` block ends it and removes its data."""

    def __init__(self, program, core=None, certificate=None):
        """The certificate is a folder that has one, for those who ask for TLS."""
        self.program, self.core, self.certificate = program, core, certificate

    def __enter__(self):
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.data = tempfile.TemporaryDirectory(prefix="actix-nsq-compare-", dir=memory)
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        self.process = None
        tcp, http = free_port(), free_port()
        self.address, self.http = f"127.0.0.1:{tcp}", f"127.0.0.1:{http}"
        addresses = [f"--tcp-address={self.address}", f"--http-address={self.http}"]
        if self.certificate:
            addresses += [f"--tls-cert={self.certificate}/cert.pem", f"--tls-key={self.certificate}/key.pem"]
            # With a certificate it listens there, too, by default at a port that another one may have.
            addresses.append("--https-address=127.0.0.1:0")
        self.process = subprocess.Popen(
            pinned(self.core) + [self.program, f"--data-path={self.data.name}"] + addresses + FLAGS,
            env=environment(self.core),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # Ctrl-C is for the comparison, which then ends it.
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.ask("/ping")
                return
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError(f"{self.program} ended with {self.process.returncode}")
                if time.monotonic() > end:
                    raise RuntimeError(f"{self.program} does not answer")
                time.sleep(0.01)

    def __exit__(self, *_):
        if self.process:
            self.process.kill()
            self.process.wait()
        self.data.cleanup()

    def ask(self, path):
        # Whatever proxy the environment names is not for this.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{self.http}{path}", timeout=PATIENCE) as answer:
            return answer.read()

    def count(self):
        """Messages that came, of all topics."""
        stats = json.loads(self.ask("/stats?format=json&include_clients=false"))
        return sum(topic["message_count"] for topic in stats["topics"])

    def producers(self):
        """Those who are connected and have published; nsqd says null where there is none."""
        return json.loads(self.ask("/stats?format=json"))["producers"] or []

    def version(self):
        said = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=True)
        return said.stdout.strip()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def pinned(core):
    return [] if core is None else ["taskset", "-c", str(core)]


def environment(core):
    """The environment of a Go program that is pinned to one core."""
    return None if core is None else {**os.environ, "GOMAXPROCS": "1"}


def die_with_parent():
    """Where the system can, however this process ends, its child goes with it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
