"""Chooses what runs the programs of a row, and starts what the row needs."""

from .consuming import ConsumeRunner
from .nsqd import Nsqd, Relay
from .programs import Runner
from .rows import ConsumeRow


class Runners:
    """A runner for each row. Rows that need the same nsqd share it."""

    def __init__(self, running, program, core, publishers, consumers, ours, prepared):
        """`running` stops what is started; `program` is the path of nsqd; `core` is for the rows
        that run on one.
        """
        self.running, self.program, self.core = running, program, core
        self.publishers, self.ours, self.prepared = publishers, ours, prepared
        self.consuming = ConsumeRunner(consumers, program)
        self.servers, self.started = {}, {}

    def of(self, row):
        if isinstance(row, ConsumeRow):
            return self.consuming
        place = (row.one_core, row.mem_queue_size, row.delay_us)
        if place not in self.started:
            self.started[place] = self.start(row)
        return self.started[place]

    def start(self, row):
        nsqd, address = self.server(row.one_core, row.mem_queue_size), None
        if row.delay_us:
            relay = Relay(self.publishers["relay"], nsqd.address, row.delay_us)
            address = self.running.enter_context(relay).address
        return Runner(self.publishers, nsqd, self.ours, self.prepared, address)

    def server(self, one_core, mem_queue_size):
        """Returns the nsqd for such rows."""
        key = (one_core, mem_queue_size)
        if key not in self.servers:
            core = self.core if one_core else None
            nsqd = Nsqd(self.program, core, self.prepared, mem_queue_size)
            self.servers[key] = self.running.enter_context(nsqd)
        return self.servers[key]
