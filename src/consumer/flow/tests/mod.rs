//! Tests of flow control by rule, and a model that plays random schedules.
//!
//! [`Bench`] is what the directed tests share: a flow, its clock and its connections.

mod capacity;
mod model;
mod probe;
mod shares;
mod turns;

use super::*;
use crate::consumer::backoff::BackoffStrategy;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Round trip of the connections of a [`Bench`]: what was sent before a lower RDY was read has
/// arrived after `SETTLED`.
const ROUND_TRIP: Duration = ms(1);
const SETTLED: Duration = ms(22);

fn options(max_in_flight: u32) -> FlowOptions {
    FlowOptions {
        max_in_flight,
        low_rdy_idle_timeout: ms(50),
        low_rdy_timeout: ms(500),
        backoff: BackoffOptions {
            strategy: BackoffStrategy::Exponential,
            multiplier: ms(1_000),
            max: ms(120_000),
        },
    }
}

fn key(nsqd: u32) -> ConnectionKey {
    ConnectionKey { nsqd, serial: 0 }
}

/// Flow control with a clock. RDYs are named by the nsqd's number.
struct Bench {
    flow: Flow,
    now: Instant,
    /// Most messages held at once by [`Bench::serve`].
    most_in_flight: u32,
}

impl Bench {
    /// With this many connections, opened at once; RDYs are not planned yet.
    fn new(max_in_flight: u32, connections: u32) -> Self {
        let mut bench = Self {
            flow: Flow::new(options(max_in_flight)),
            now: Instant::now(),
            most_in_flight: 0,
        };
        for nsqd in 0..connections {
            bench.open(nsqd);
        }
        bench
    }

    fn open(&mut self, nsqd: u32) {
        self.flow.open(key(nsqd), 2500, ROUND_TRIP, self.now);
    }

    fn received(&mut self, nsqd: u32, count: u32) {
        self.flow.received(key(nsqd), count, self.now);
    }

    fn answered(&mut self, nsqd: u32, count: u32) {
        self.flow.answered(key(nsqd), count, false, self.now);
    }

    fn expired(&mut self, nsqd: u32, count: u32) {
        self.flow.expired(key(nsqd), count, self.now);
    }

    /// Plans, and returns the RDYs in the order in which they are written.
    fn plan(&mut self) -> Vec<(u32, u32)> {
        self.flow.settle(self.now);
        let Plan { lowered, raised } = self.flow.plan(self.now);
        let written = lowered.into_iter().chain(raised);
        written.map(|(key, rdy)| (key.nsqd, rdy)).collect()
    }

    /// Lets time pass, and plans whenever a plan is due. Returns the RDYs.
    fn passes(&mut self, time: Duration) -> Vec<(u32, u32)> {
        let end = self.now + time;
        let mut written = Vec::new();
        while let Some(due) = self.flow.due().filter(|due| *due <= end) {
            assert!(due > self.now, "a plan that is due again at once");
            self.now = due;
            written.extend(self.plan());
        }
        self.now = end;
        written
    }

    /// nsqd sends as many as RDY allows.
    fn fill(&mut self, nsqd: u32) -> u32 {
        let position = self.flow.position(key(nsqd)).expect("it is open");
        let capacity = &self.flow.connections[position].capacity;
        let count = capacity.rdy().saturating_sub(capacity.held());
        if count > 0 {
            self.received(nsqd, count);
        }
        count
    }

    /// The connections in `full` have a backlog, and handlers answer after this many milliseconds.
    /// Returns how many messages of each connection were handled.
    fn serve(&mut self, full: &[u32], time: Duration, handler: u64) -> Vec<u32> {
        let mut served = vec![0; self.flow.positions.len()];
        let end = self.now + time;
        while self.now < end {
            for nsqd in full {
                served[*nsqd as usize] += self.fill(*nsqd);
            }
            self.plan();
            self.most_in_flight = self.most_in_flight.max(self.held());
            self.passes(ms(handler));
            for nsqd in full {
                let position = self.flow.position(key(*nsqd)).expect("it is open");
                let held = self.flow.connections[position].capacity.held();
                self.answered(*nsqd, held);
            }
            self.plan();
        }
        served
    }

    /// A message waits at this nsqd, while the others in `full` are served. Returns how long, and
    /// answers the message.
    fn wait_for(&mut self, nsqd: u32, full: &[u32], at_most: Duration) -> Duration {
        let begin = self.now;
        while self.flow.rdy(key(nsqd)) == 0 {
            assert!(
                self.now < begin + at_most,
                "no RDY for {nsqd}: {:?}",
                self.flow
            );
            self.serve(full, ms(1), 1);
        }
        let wait = self.now - begin;
        self.received(nsqd, 1);
        self.plan();
        self.answered(nsqd, 1);
        self.plan();
        wait
    }

    fn held(&self) -> u32 {
        let connections = self.flow.connections.iter();
        connections.map(|it| it.capacity.held()).sum()
    }

    fn rdys(&self) -> Vec<u32> {
        let connections = self.flow.connections.iter();
        connections.map(Connection::rdy).collect()
    }
}
