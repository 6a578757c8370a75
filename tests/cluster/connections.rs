//! Which connections clients must have, and how long they take to make them after a fault.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::client::MAX_SETTLE_TIME;
use crate::faults::Fault;
use crate::layout::{CLIENTS, Client, LOOKUPDS, Layout, Publisher};

/// Clients report every 50 ms. After a longer silence of a client, the machine was too busy to
/// measure its connections.
const MAX_SILENCE: Duration = Duration::from_millis(700);

/// The connections of the clients, the faults that disturb them, and what nsqlookupds name.
#[derive(Debug)]
pub struct Connections {
    layout: Layout,
    faults: Vec<Fault>,
    /// The nsqds that each nsqlookupd names.
    named: [BTreeSet<usize>; LOOKUPDS],
    /// Since when a client is expected to have a connection, by client and nsqd.
    expected_since: Vec<Vec<Option<Instant>>>,
    /// When a connection was last lost or disturbed.
    last_trouble: Vec<Vec<Option<Instant>>>,
    /// The nsqds that are up, by client.
    up: Vec<BTreeSet<usize>>,
    last_report: Vec<Option<Instant>>,
    began: Instant,
    /// The clients stop.
    pub has_ended: bool,
    pub lost: usize,
    /// Silences of clients.
    pub silences: usize,
    /// The longest time that an expected connection was missing.
    pub slowest: Duration,
    pub problems: Vec<String>,
}

impl Connections {
    pub fn new(layout: Layout) -> Self {
        let each = |_| vec![None; layout.nsqds];
        Self {
            layout,
            faults: Vec::new(),
            named: Default::default(),
            expected_since: CLIENTS.iter().map(each).collect(),
            last_trouble: CLIENTS.iter().map(each).collect(),
            up: vec![BTreeSet::new(); CLIENTS.len()],
            last_report: vec![None; CLIENTS.len()],
            began: Instant::now(),
            has_ended: false,
            lost: 0,
            silences: 0,
            slowest: Duration::ZERO,
            problems: Vec::new(),
        }
    }

    /// The faults begin now.
    pub fn start(&mut self, now: Instant) {
        self.began = now;
    }

    /// A fault begins or has ended.
    pub fn set_fault(&mut self, fault: Fault, is_active: bool, now: Instant) {
        if is_active {
            self.faults.push(fault);
        } else {
            self.faults.retain(|it| *it != fault);
            // Until now it disturbed them.
            self.note_trouble(now, |host, nsqd| fault.is_between(host, nsqd));
        }
        self.expect(now);
    }

    /// An nsqlookupd names these nsqds.
    pub fn set_named(&mut self, lookupd: usize, nsqds: BTreeSet<usize>, now: Instant) {
        if self.named[lookupd] != nsqds {
            self.named[lookupd] = nsqds;
            self.expect(now);
        }
    }

    /// A client has lost a connection.
    pub fn lost(&mut self, client: usize, nsqd: usize, now: Instant) {
        self.last_trouble[client][nsqd] = Some(now);
        if self.has_ended {
            return;
        }
        self.lost += 1;
        let undisturbed = self.expected_since[client][nsqd].map(|since| now - since);
        if let Some(time) = undisturbed.filter(|time| *time > MAX_SETTLE_TIME) {
            let text = format!(
                "client {client} lost its connection to nsqd {nsqd}, {time:.1?} after the last \
                 fault between them"
            );
            self.problem(now, text);
        }
    }

    /// A client has these connections.
    pub fn report(&mut self, client: usize, up: BTreeSet<usize>, now: Instant) {
        if self.has_ended {
            return;
        }
        let silence = self.last_report[client].replace(now).map(|last| now - last);
        self.up[client] = up;
        if silence.is_some_and(|silence| silence > MAX_SILENCE) {
            self.silences += 1;
            let host = self.layout.clients().start + client;
            self.note_trouble(now, |disturbed, _| disturbed == host);
            self.expected_since[client].fill(None);
            self.expect(now);
        }
        for nsqd in self.layout.nsqds() {
            let Some(since) = self.expected_since[client][nsqd] else {
                continue;
            };
            if self.up[client].contains(&nsqd) {
                continue;
            }
            let missing = now - since;
            self.slowest = self.slowest.max(missing);
            if missing > MAX_SETTLE_TIME {
                let text = format!(
                    "client {client} has no connection to nsqd {nsqd}, {missing:.1?} after the \
                     last fault between them (at most {MAX_SETTLE_TIME:?})"
                );
                self.problem(now, text);
                // One report each.
                self.expected_since[client][nsqd] = Some(now);
            }
        }
    }

    /// Whether every client is connected to every nsqd.
    pub fn are_complete(&self) -> bool {
        self.up.iter().all(|up| up.len() == self.layout.nsqds)
    }

    /// Whether the connection was lost, or disturbed by a fault, after this time.
    pub fn had_trouble_since(&self, client: usize, nsqd: usize, time: Instant) -> bool {
        let host = self.layout.clients().start + client;
        let is_disturbed = self.faults.iter().any(|fault| fault.is_between(host, nsqd));
        is_disturbed || self.last_trouble[client][nsqd].is_some_and(|last| last >= time)
    }

    /// What is not complete.
    pub fn missing(&self) -> String {
        let up = self.up.iter().enumerate();
        let clients = up.map(|(client, up)| {
            let missing: Vec<_> = self
                .layout
                .nsqds()
                .filter(|nsqd| !up.contains(nsqd))
                .collect();
            format!("client {client} misses nsqds {missing:?}")
        });
        let clients: Vec<_> = clients.collect();
        format!("{}; nsqlookupds name {:?}", clients.join(", "), self.named)
    }

    fn problem(&mut self, now: Instant, text: String) {
        let time = now - self.began;
        self.problems.push(format!("{time:.1?}: {text}"));
    }

    fn note_trouble(&mut self, now: Instant, has_trouble: impl Fn(usize, usize) -> bool) {
        for (client, host) in self.layout.clients().enumerate() {
            for nsqd in self.layout.nsqds() {
                if has_trouble(host, nsqd) {
                    self.last_trouble[client][nsqd] = Some(now);
                }
            }
        }
    }

    /// Updates which connections are expected.
    fn expect(&mut self, now: Instant) {
        for client in 0..CLIENTS.len() {
            for nsqd in self.layout.nsqds() {
                let is_expected = self.is_expected(client, nsqd);
                let since = &mut self.expected_since[client][nsqd];
                *since = is_expected.then(|| since.unwrap_or(now));
            }
        }
    }

    fn is_expected(&self, client: usize, nsqd: usize) -> bool {
        let host = self.layout.clients().start + client;
        let is_clear = |other| {
            !self
                .faults
                .iter()
                .any(|fault| fault.is_between(host, other))
        };
        let names_it = |(number, named): (usize, &BTreeSet<usize>)| {
            named.contains(&nsqd) && is_clear(self.layout.lookupds().start + number)
        };
        let is_known = CLIENTS[client] == Client::Publisher(Publisher::KnowsAndRetries)
            || self.named.iter().enumerate().any(names_it);
        is_clear(nsqd) && is_known
    }
}
