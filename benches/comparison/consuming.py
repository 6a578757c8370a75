"""Runs the consumers, each with an nsqd of its own that has the messages before."""

from contextlib import ExitStack

from .nsqd import Nsqd
from .programs import calibrated, report_of
from .rows import OURS

TOPIC, CHANNEL = "compare", "compare"

# Messages of the first run of a calibration.
FIRST = 10_000


class ConsumeRunner:
    """Runs programs with a new nsqd each time, or several, and checks that no message is left."""

    def __init__(self, binaries, program):
        """`program` is the path of nsqd."""
        self.binaries, self.program = binaries, program
        self.allocations = {}

    def command(self, row, program, messages, addresses):
        addresses = [part for address in addresses for part in ("--nsqd-tcp-address", address)]
        flags = row.flags(TOPIC, CHANNEL) + ["--messages", str(messages)] + list(program.flags)
        return self.binaries[program.binary] + addresses + flags

    def calibrate(self, row, program, seconds):
        """Returns the number of messages: that of the row, or as many as take about `seconds`.

        Counts the allocations of this client, which needs a run of its own.
        """
        messages = row.messages
        if messages is None:
            report = calibrated(lambda count: self.run(row, program, count), FIRST)
            messages = round(report["rate"] * seconds)
        if program.binary == OURS:
            report = self.run(row, program, messages, ("--count-allocations",))
            self.allocations[row.name, program.name] = report["allocs_per_message"]
        return messages

    def run(self, row, program, messages, more=()):
        """Runs a program. Fails if a message is not ok, or if nsqd has it still."""
        with ExitStack() as running:
            nsqds = []
            for number in range(row.nsqds):
                # All messages stay in memory.
                nsqd = running.enter_context(Nsqd(self.program, mem_queue_size=2 * messages))
                has_messages = number == 0 and not row.publishers
                nsqd.fill(TOPIC, CHANNEL, messages if has_messages else 0, row.size)
                nsqds.append(nsqd)
            addresses = [nsqd.address for nsqd in nsqds]
            command = self.command(row, program, messages, addresses) + list(more)
            report = report_of(command, messages)
            nsqds[0].until_unfinished(0)
        if program.binary == OURS and not more:
            report["allocs_per_message"] = self.allocations.get((row.name, program.name))
        return report
