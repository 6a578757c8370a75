//! Tests of flow control by rule, and a model that plays random schedules.
//!
//! [`Bench`] is what the directed tests share: a flow, its clock and its connections.

mod model;
mod shares;

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
}

impl Bench {
    /// With this many connections, opened at once; RDYs are not planned yet.
    fn new(max_in_flight: u32, connections: u32) -> Self {
        let mut bench = Self {
            flow: Flow::new(options(max_in_flight)),
            now: Instant::now(),
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

    fn rdys(&self) -> Vec<u32> {
        let connections = self.flow.connections.iter();
        connections.map(Connection::rdy).collect()
    }
}
