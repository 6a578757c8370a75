//! The faults of a campaign, drawn from a seed.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

use crate::layout::Layout;
use crate::network::Disturbance;

/// Maximum time between the starts of two faults, with 4 nsqds. With more nsqds there are more
/// faults.
const MAX_GAP: Duration = Duration::from_millis(1_400);

/// Draws per fault, until one leaves enough hosts undisturbed.
const DRAWS: usize = 20;

/// How long a fault lasts. Heartbeats notice those above 2 s.
const LENGTH: Range<u64> = 400..5_000;

/// A fault. Hosts are given by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The link of the host is down.
    Partition(usize),
    /// The host receives and cannot send.
    Mute(usize),
    /// One host cannot send to another one.
    OneWay { from: usize, to: usize },
    /// Frames of the host are late or lost.
    Slow(usize, Disturbance),
    /// The rate of the host is limited, in kbit/s.
    RateLimit(usize, u32),
    /// The host vanishes, with the program on it (kill -9), and returns with the same data.
    Crash(usize),
}

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Partition,
    Mute,
    OneWay,
    Slow,
    RateLimit,
    Crash,
}

impl Kind {
    pub const ALL: [Self; 6] = [
        Self::Partition,
        Self::Mute,
        Self::OneWay,
        Self::Slow,
        Self::RateLimit,
        Self::Crash,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Partition => "partition",
            Self::Mute => "host that cannot send",
            Self::OneWay => "one-way partition of two hosts",
            Self::Slow => "delay and loss",
            Self::RateLimit => "rate limit",
            Self::Crash => "crash",
        })
    }
}

impl Fault {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Partition(_) => Kind::Partition,
            Self::Mute(_) => Kind::Mute,
            Self::OneWay { .. } => Kind::OneWay,
            Self::Slow(..) => Kind::Slow,
            Self::RateLimit(..) => Kind::RateLimit,
            Self::Crash(_) => Kind::Crash,
        }
    }

    /// The hosts of the fault: one or two.
    fn hosts(&self) -> impl Iterator<Item = usize> {
        let (first, second) = match *self {
            Self::OneWay { from, to } => (from, Some(to)),
            Self::Partition(host)
            | Self::Mute(host)
            | Self::Slow(host, _)
            | Self::RateLimit(host, _)
            | Self::Crash(host) => (host, None),
        };
        std::iter::once(first).chain(second)
    }

    /// Whether it disturbs the path between two hosts.
    pub fn is_between(&self, one: usize, other: usize) -> bool {
        self.hosts().all(|host| host == one || host == other)
    }
}

/// A fault with its time since the start of the campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    pub start: Duration,
    pub end: Duration,
    pub fault: Fault,
}

/// Draws the faults of a campaign, in the order of their starts. `relayed` hosts can be slow.
///
/// At any time at least half of the nsqds, all but one of the nsqlookupds and all but one of the
/// clients are undisturbed.
pub fn plan(
    rng: &mut Rng,
    layout: Layout,
    length: Duration,
    kinds: &[Kind],
    relayed: &[usize],
) -> Vec<Planned> {
    let max_gap = MAX_GAP.as_millis() as u64 * 4 / layout.nsqds.max(4) as u64;
    let mut planned: Vec<Planned> = Vec::new();
    let mut next_kinds = Vec::new();
    let mut start = Duration::ZERO;
    loop {
        start += Duration::from_millis(rng.u64(50..max_gap));
        if start >= length {
            return planned;
        }
        if next_kinds.is_empty() {
            next_kinds.extend_from_slice(kinds);
            rng.shuffle(&mut next_kinds);
        }
        let end = (start + Duration::from_millis(rng.u64(LENGTH))).min(length);
        let active = planned.iter().filter(|it| it.end >= start);
        let active: Vec<_> = active.map(|it| it.fault).collect();
        let Some(kind) = next_kinds.last() else {
            return planned;
        };
        let mut draws = (0..DRAWS).map(|_| draw(rng, layout, *kind, relayed));
        if let Some(fault) = draws.find(|fault| are_survivable(&active, *fault, layout)) {
            planned.push(Planned { start, end, fault });
            next_kinds.pop();
        }
    }
}

fn draw(rng: &mut Rng, layout: Layout, kind: Kind, relayed: &[usize]) -> Fault {
    let nsqd = rng.usize(layout.nsqds());
    let lookupd = rng.usize(layout.lookupds());
    let client = rng.usize(layout.clients());
    // Most faults concern nsqds.
    let server = *rng
        .choice([nsqd, nsqd, nsqd, lookupd].iter())
        .unwrap_or(&nsqd);
    let any = *rng.choice([server, server, client].iter()).unwrap_or(&nsqd);
    match kind {
        Kind::Partition => Fault::Partition(any),
        Kind::Mute => Fault::Mute(any),
        Kind::OneWay => {
            let pairs = [
                (client, nsqd),
                (client, nsqd),
                (client, lookupd),
                (nsqd, lookupd),
            ];
            let (from, to) = pairs[rng.usize(..pairs.len())];
            match rng.bool() {
                true => Fault::OneWay { from, to },
                false => Fault::OneWay { from: to, to: from },
            }
        }
        Kind::Slow => Fault::Slow(
            relayed[rng.usize(..relayed.len())],
            Disturbance {
                delay_ms: rng.u32(1..300),
                jitter_ms: rng.u32(0..200),
                loss_percent: rng.u32(0..20),
            },
        ),
        Kind::RateLimit => Fault::RateLimit(any, rng.u32(32..512)),
        Kind::Crash => Fault::Crash(server),
    }
}

/// Whether faults at the same time leave enough, and each host has at most one.
fn are_survivable(active: &[Fault], fault: Fault, layout: Layout) -> bool {
    let mut hosts: Vec<_> = active
        .iter()
        .chain([&fault])
        .flat_map(Fault::hosts)
        .collect();
    let in_all = hosts.len();
    hosts.sort_unstable();
    hosts.dedup();
    let among = |range: Range<usize>| hosts.iter().filter(|host| range.contains(host)).count();
    hosts.len() == in_all
        && among(layout.nsqds()) <= layout.nsqds / 2
        && among(layout.lookupds()) <= 1
        && among(layout.clients()) <= 1
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, end, fault } = self;
        write!(f, "{start:.2?} to {end:.2?}: {fault:?}")
    }
}
