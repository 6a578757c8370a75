"""A real nsqd: found or built as in the tests, with its data in memory, and its statistics."""

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
from contextlib import ExitStack
from pathlib import Path

from .rows import MAX_BODY, MEM_QUEUE_SIZE

# nsqd logs the end of a compressed connection as an error.
FLAGS = ["--log-level=fatal"]

# The version that is built, and the default of the tests.
VERSION = "1.3.0"

# Seconds.
TIMEOUT = 10

# Maximum number of starts of an nsqd.
ATTEMPTS = 5


def find(root, target):
    """Returns the path of nsqd: from NSQD_BIN, in the PATH, from the tests, or a new build."""
    named = os.environ.get("NSQD_BIN")
    if named:
        return named
    program = target / "peers" / "nsqd"
    built = (path for path in (target / "nsqd" / VERSION / "nsqd", program) if path.is_file())
    found = shutil.which("nsqd") or next(built, None)
    if found:
        return str(found)
    print("building nsqd", file=sys.stderr)
    subprocess.run(
        ["go", "build", "-o", str(program), "github.com/nsqio/nsq/apps/nsqd"],
        cwd=root / "tests" / "nsqd" / VERSION,
        env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
        check=True,
    )
    return str(program)


class Nsqd:
    """A running nsqd. The end of the `with` block kills it and removes its data."""

    def __init__(self, program, core=None, certificate=None, mem_queue_size=MEM_QUEUE_SIZE):
        """`certificate` is the folder with the certificate for TLS."""
        self.program, self.core, self.certificate = program, core, certificate
        self.flags = FLAGS + [f"--mem-queue-size={mem_queue_size}"]

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
        """Starts nsqd, again if another program has taken one of its ports meanwhile."""
        for _ in range(ATTEMPTS):
            if self.is_started():
                return
        raise RuntimeError(f"{self.program} exited with {self.process.returncode}")

    def is_started(self):
        self.process = None
        tcp, http = free_ports(2)
        self.address, self.http = f"127.0.0.1:{tcp}", f"127.0.0.1:{http}"
        addresses = [f"--tcp-address={self.address}", f"--http-address={self.http}"]
        if self.certificate:
            addresses.append(f"--tls-cert={self.certificate}/cert.pem")
            addresses.append(f"--tls-key={self.certificate}/key.pem")
            # With a certificate nsqd also listens for HTTPS, by default at a fixed port.
            addresses.append("--https-address=127.0.0.1:0")
        flags = [f"--data-path={self.data.name}"] + addresses + self.flags
        self.process = subprocess.Popen(
            pinned(self.core) + [self.program] + flags,
            env=environment(self.core),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # Ctrl-C goes to the comparison only, which then kills nsqd.
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                self.get("/ping")
                return self.process.poll() is None
            except OSError:
                if self.process.poll() is not None:
                    return False
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{self.program} does not respond")
                time.sleep(0.01)

    def __exit__(self, *_):
        if self.process:
            self.process.kill()
            self.process.wait()
        self.data.cleanup()

    def get(self, path, body=None):
        """Sends a GET, or a POST if there is a body."""
        # Ignores the proxies of the environment.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{self.http}{path}", body, timeout=TIMEOUT) as response:
            return response.read()

    def fill(self, topic, channel, messages, size):
        """Creates a channel, and publishes messages until it has this number of them."""
        self.get(f"/topic/create?topic={topic}", b"")
        self.get(f"/channel/create?topic={topic}&channel={channel}", b"")
        message = size.to_bytes(4, "big") + bytes(index % 251 for index in range(size))
        most = (MAX_BODY - 4) // len(message)
        for first in range(0, messages, most):
            count = min(most, messages - first)
            self.get(f"/mpub?topic={topic}&binary=true", count.to_bytes(4, "big") + message * count)
        self.until_unfinished(messages)

    def until_unfinished(self, messages):
        """Waits until the channels have this number of messages, those in flight included."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            stats = json.loads(self.get("/stats?format=json&include_clients=false"))
            channels = [channel for topic in stats["topics"] for channel in topic["channels"]]
            counts = ("depth", "in_flight_count", "deferred_count")
            unfinished = sum(channel[count] for channel in channels for count in counts)
            if unfinished == messages:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"nsqd has {unfinished} messages instead of {messages}")
            time.sleep(0.01)

    def count(self):
        """Returns the number of messages of all topics since the start."""
        stats = json.loads(self.get("/stats?format=json&include_clients=false"))
        return sum(topic["message_count"] for topic in stats["topics"])

    def producers(self):
        """Returns the connected clients that have published."""
        # nsqd writes null for an empty list.
        return json.loads(self.get("/stats?format=json"))["producers"] or []

    def version(self):
        command = [self.program, "--version"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Relay:
    """A TCP relay to an nsqd, which delays every byte. The end of the `with` block kills it."""

    def __init__(self, command, upstream, delay_us):
        self.command = command + [upstream, str(delay_us)]

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            raise RuntimeError(f"{self.command[0]} exited with {self.process.wait()}")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def free_ports(count):
    """Returns different ports."""
    with ExitStack() as opened:
        listeners = [opened.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]


def pinned(core):
    return [] if core is None else ["taskset", "-c", str(core)]


def environment(core):
    """Returns the environment of a Go program that is pinned to one core."""
    return None if core is None else {**os.environ, "GOMAXPROCS": "1"}


def die_with_parent():
    """Kills the child process when this process ends, on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
