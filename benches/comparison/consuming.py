"""Runs the consumers, each with an nsqd of its own that has the messages before."""

from contextlib import ExitStack

from .nsqd import Nsqd
from .programs import report_of

TOPIC, CHANNEL = "compare", "compare"


class ConsumeRunner:
    """Runs programs with a new nsqd each time, or several, and checks that no message is left."""

    def __init__(self, binaries, program):
        """`program` is the path of nsqd."""
        self.binaries, self.program = binaries, program

    def command(self, row, program, addresses):
        addresses = [part for address in addresses for part in ("--nsqd-tcp-address", address)]
        flags = row.flags(TOPIC, CHANNEL) + list(program.flags)
        return self.binaries[program.binary] + addresses + flags

    def calibrate(self, row, _program, _seconds):
        """Returns the number of messages, which is that of the row."""
        return row.messages

    def run(self, row, program, messages):
        """Runs a program. Fails if a message is not ok, or if nsqd has it still."""
        with ExitStack() as running:
            nsqds = []
            for number in range(row.nsqds):
                # All messages stay in memory.
                nsqd = running.enter_context(Nsqd(self.program, mem_queue_size=2 * messages))
                nsqd.fill(TOPIC, CHANNEL, messages if number == 0 else 0, row.size)
                nsqds.append(nsqd)
            command = self.command(row, program, [nsqd.address for nsqd in nsqds])
            report = report_of(command, messages)
            nsqds[0].until_unfinished(0)
        return report
