//! What a schedule consists of.

use std::time::Duration;

use fastrand::Rng;

use super::timeline::{MS, S};
use crate::consumer::{
    backoff::{BackoffOptions, BackoffStrategy},
    flow::FlowOptions,
};

/// An nsqd and the link to it.
#[derive(Debug, Clone)]
pub(super) struct NsqdScene {
    /// Messages at the start.
    pub(super) backlog: usize,
    /// Mean time between publishes.
    pub(super) publish_every: Option<u64>,
    /// Messages of a publish.
    pub(super) burst: usize,
    /// One way, at least.
    pub(super) delay: u64,
    /// One way, at most in addition.
    pub(super) jitter: u64,
    pub(super) max_rdy: u32,
    /// Mean time until a connection is cut.
    pub(super) cut_after: Option<u64>,
    /// When it is connected first.
    pub(super) connect_at: u64,
}

/// A schedule.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) nsqds: Vec<NsqdScene>,
    pub(super) max: u32,
    pub(super) end: u64,
    pub(super) low_rdy_idle_timeout: u64,
    pub(super) low_rdy_timeout: u64,
    pub(super) backoff_multiplier: u64,
    pub(super) max_backoff: u64,
    pub(super) has_jitter: bool,
    /// Longest time until the consumer's actor runs again.
    pub(super) poll_delay: u64,
    pub(super) concurrency: usize,
    /// Mean time of a handler.
    pub(super) handler: u64,
    /// Part of the handlers that takes `slow` longer.
    pub(super) slow_part: f64,
    pub(super) slow: u64,
    pub(super) msg_timeout: u64,
    /// Messages expire after nsqd has requeued them, instead of before.
    pub(super) has_late_clock: bool,
    pub(super) failing_part: f64,
    /// Part of the failures that do not count for the backoff.
    pub(super) neutral_part: f64,
    /// All handlers fail between these.
    pub(super) outage: Option<(u64, u64)>,
    pub(super) max_changes: Vec<(u64, u32)>,
    pub(super) pause: Option<(u64, u64)>,
    /// An nsqd that is left: when, and when its connection is closed.
    pub(super) leave: Option<(usize, u64, u64)>,
    pub(super) reconnect_delay: u64,
}

fn chance(rng: &mut Rng, part: f64) -> bool {
    rng.f64() < part
}

fn one_of<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(0..of.len())]
}

impl NsqdScene {
    fn random(rng: &mut Rng, is_flaky: bool) -> Self {
        let delay = one_of(rng, &[20, 100, 500, 2 * MS, 10 * MS, 30 * MS]);
        Self {
            backlog: if rng.bool() { rng.usize(1..500) } else { 0 },
            publish_every: chance(rng, 0.6)
                .then(|| one_of(rng, &[5 * MS, 20 * MS, 100 * MS, S, 4 * S])),
            burst: one_of(rng, &[1, 1, 1, 5, 30]),
            delay,
            jitter: rng.u64(0..=delay.min(3 * MS)),
            max_rdy: one_of(rng, &[2500, 2500, 2500, 3, 10]),
            cut_after: (is_flaky && chance(rng, 0.7)).then(|| one_of(rng, &[200 * MS, S, 5 * S])),
            connect_at: if chance(rng, 0.3) {
                rng.u64(0..3 * S)
            } else {
                rng.u64(0..3 * MS)
            },
        }
    }
}

impl Scene {
    pub(super) fn random(rng: &mut Rng) -> Self {
        let connections = one_of(rng, &[1, 2, 2, 3, 4, 5, 6, 8]);
        let is_flaky = chance(rng, 0.35);
        let max = match rng.u32(0..4) {
            0 => 1,
            1 => rng.u32(1..=connections),
            2 => rng.u32(1..=3 * connections),
            _ => rng.u32(1..=60),
        };
        let mut scene = Self {
            nsqds: (0..connections)
                .map(|_| NsqdScene::random(rng, is_flaky))
                .collect(),
            max,
            end: rng.u64(3..12) * S,
            low_rdy_idle_timeout: one_of(rng, &[10 * MS, 50 * MS, 200 * MS]),
            low_rdy_timeout: one_of(rng, &[50 * MS, 250 * MS, S]),
            backoff_multiplier: one_of(rng, &[10 * MS, 50 * MS, 250 * MS]),
            max_backoff: one_of(rng, &[50 * MS, 500 * MS, 2 * S]),
            has_jitter: rng.bool(),
            poll_delay: one_of(rng, &[0, 0, 100, 2 * MS]),
            concurrency: if chance(rng, 0.7) {
                max as usize
            } else {
                rng.usize(1..=max as usize)
            },
            handler: one_of(rng, &[200, MS, 5 * MS, 20 * MS, 100 * MS]),
            slow_part: 0.0,
            slow: 0,
            msg_timeout: 60 * S,
            has_late_clock: rng.bool(),
            failing_part: 0.0,
            neutral_part: if chance(rng, 0.3) { 0.5 } else { 0.0 },
            outage: None,
            max_changes: Vec::new(),
            pause: None,
            leave: None,
            reconnect_delay: 100 * MS,
        };
        scene.add_trouble(rng);
        if chance(rng, 0.04) && connections >= 3 {
            scene.flap(rng);
        }
        scene
    }

    fn add_trouble(&mut self, rng: &mut Rng) {
        if chance(rng, 0.3) {
            self.slow_part = 0.03;
            self.slow = one_of(rng, &[200 * MS, 1_200 * MS, 3 * S]);
            self.msg_timeout = one_of(rng, &[S, S, 2 * S, 60 * S]);
        } else if chance(rng, 0.15) {
            // Handlers that end close to the timeout.
            self.msg_timeout = S;
            self.slow_part = 0.4;
            self.slow = S - self.handler - rng.u64(0..60 * MS);
            for nsqd in &mut self.nsqds {
                nsqd.delay = nsqd.delay.max(one_of(rng, &[2 * MS, 10 * MS, 30 * MS]));
            }
        }
        match rng.u32(0..5) {
            0 => self.failing_part = one_of(rng, &[0.01, 0.05, 0.5]),
            1 => {
                let from = rng.u64(0..self.end / 2);
                self.outage = Some((from, from + rng.u64(0..self.end / 3)));
            }
            _ => {}
        }
        if chance(rng, 0.2) {
            let from = rng.u64(0..self.end / 2);
            let until = from + rng.u64(0..self.end / 2);
            self.max_changes = vec![(from, rng.u32(0..60)), (until, self.max)];
        }
        if chance(rng, 0.12) {
            let from = rng.u64(0..self.end / 2);
            self.pause = Some((from, from + rng.u64(0..self.end / 3)));
        }
        if chance(rng, 0.15) {
            let (nsqd, from) = (rng.usize(0..self.nsqds.len()), rng.u64(0..self.end / 2));
            self.leave = Some((nsqd, from, from + rng.u64(0..self.end / 3)));
        }
    }

    /// Half of the connections are lost again and again, and there are fewer places than
    /// connections.
    fn flap(&mut self, rng: &mut Rng) {
        self.max = rng.u32(1..=2);
        self.concurrency = self.max as usize;
        self.max_changes.clear();
        let half = self.nsqds.len() / 2;
        for (index, nsqd) in self.nsqds.iter_mut().enumerate() {
            nsqd.cut_after = (index < half).then_some(200 * MS);
            if index >= half {
                nsqd.backlog = nsqd.backlog.max(100);
            }
        }
        self.end = 20 * S;
    }

    pub(super) fn flow_options(&self) -> FlowOptions {
        let micros = Duration::from_micros;
        FlowOptions {
            max_in_flight: self.max,
            low_rdy_idle_timeout: micros(self.low_rdy_idle_timeout),
            low_rdy_timeout: micros(self.low_rdy_timeout),
            backoff: BackoffOptions {
                strategy: if self.has_jitter {
                    BackoffStrategy::FullJitter
                } else {
                    BackoffStrategy::Exponential
                },
                multiplier: micros(self.backoff_multiplier),
                max: micros(self.max_backoff),
            },
        }
    }

    /// Whether nsqd may have requeued a message before it reads an answer to it.
    pub(super) fn is_late(&self, nsqd: usize, received: u64, now: u64) -> bool {
        let NsqdScene { delay, jitter, .. } = self.nsqds[nsqd];
        let margin = 2 * (delay + jitter) + self.poll_delay + 5 * MS;
        now + margin >= received + self.msg_timeout
    }

    /// Longest round trip.
    pub(super) fn round_trip(&self) -> u64 {
        let round_trips = self.nsqds.iter().map(|it| 2 * (it.delay + it.jitter));
        round_trips.max().unwrap_or(0)
    }

    /// Longest time for which a connection with messages may receive none: two turns of each
    /// connection, and in backoff its waits.
    pub(super) fn patience(&self) -> u64 {
        let round_trip = self.round_trip();
        let connections = self.nsqds.len() as u64;
        let slow = if self.slow_part > 0.0 { self.slow } else { 0 };
        let handler = self.handler * 3 / 2 + slow.min(self.msg_timeout + S);
        let idle_turn = (4 * self.low_rdy_idle_timeout).max(3 * round_trip);
        let settle = 20 * MS + 2 * round_trip;
        let turn = self.low_rdy_timeout + idle_turn + 2 * settle + handler + 3 * round_trip;
        let mut patience = 2 * (connections + 1) * turn + 2 * handler + 2 * S;
        if self.nsqds.iter().any(|it| it.cut_after.is_some()) {
            patience += 2 * handler + S;
        }
        if !self.max_changes.is_empty() {
            // What is held ends first, partly behind other messages.
            patience += 60 * handler.min(self.msg_timeout);
        }
        if self.failing_part > 0.0 || self.outage.is_some() {
            let waits = (1..40).map(|level| self.backoff_multiplier << level);
            let waits: Vec<u64> = waits.take_while(|wait| *wait <= self.max_backoff).collect();
            let levels = waits.len() as u64 + 1;
            let waits = waits.into_iter().sum::<u64>() + self.max_backoff;
            patience = 4 * (waits + levels * patience) + 10 * S;
        }
        patience
    }
}
