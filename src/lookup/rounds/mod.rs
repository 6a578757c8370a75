//! When nsqlookupds are queried, and which nodes are connected to: times and answers in, queries
//! and decisions out. Pure.
//!
//! 1. A round queries every nsqlookupd at the same time; each answer counts as soon as it arrives.
//!    One that has not answered the round before is queried again when it has.
//! 2. Rounds are due after the interval and a random part of it, and early ones while no node is
//!    known or after a lost connection ([`EarlyRounds`]).
//! 3. A node is dialled when an answer names it. It is dropped only while its connection is down,
//!    when every nsqlookupd that ever named it has answered its last query without it.
//! 4. A node whose connection was lost is dialled again if an answer to a query that began after
//!    the loss names it, or if every nsqlookupd was queried after the loss and none answered.

mod early;
mod lookupd;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use self::{early::EarlyRounds, lookupd::Lookupd};
use super::answer::MAX_NODES;
use crate::protocol::node::Node;

/// Tells the nsqlookupds of one [`Rounds`] apart.
pub(crate) type LookupdId = u32;

/// When rounds are due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) interval: Duration,
    /// Largest random part of the interval.
    pub(crate) jitter: f64,
}

/// What the owner of connections is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Connect to a node: a new one, or one whose connection was lost. The owner repeats failed
    /// attempts.
    Dial(Node),
    /// What is known of a node has changed.
    Changed(Node),
    /// Forget a node whose connection is down.
    Drop(Arc<str>),
}

/// Whether a node is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connection {
    /// The owner connects, or has decided not to.
    Dialling,
    Up,
    /// It was lost, and is not dialled until it is named by an answer to a query with a higher
    /// number.
    Lost {
        since: u64,
    },
}

#[derive(Debug)]
struct Known {
    node: Node,
    connection: Connection,
    /// The nsqlookupds that ever named it.
    sources: BTreeSet<LookupdId>,
}

#[derive(Debug)]
pub(crate) struct Rounds {
    timing: Timing,
    lookupds: BTreeMap<LookupdId, Lookupd>,
    nodes: BTreeMap<Arc<str>, Known>,
    /// Number of the last query or loss, which orders them.
    serial: u64,
    next_id: LookupdId,
    /// When the next regular round is due.
    next: Instant,
    early: EarlyRounds,
    decisions: Vec<Decision>,
}

impl Rounds {
    /// The first round is due at `now`.
    pub(crate) fn new(timing: Timing, now: Instant) -> Self {
        Self {
            timing,
            lookupds: BTreeMap::new(),
            nodes: BTreeMap::new(),
            serial: 0,
            next_id: 0,
            next: now,
            early: EarlyRounds::new(timing.interval),
            decisions: Vec::new(),
        }
    }

    /// Adds an nsqlookupd, which is queried at the next [`poll`](Self::poll).
    pub(crate) fn add(&mut self, now: Instant) -> LookupdId {
        let id = self.next_id;
        self.next_id += 1;
        self.lookupds.insert(id, Lookupd::new(now));
        if self.nodes.is_empty() {
            self.early.begin(now);
        }
        id
    }

    /// Removes an nsqlookupd. What it has named counts no more.
    pub(crate) fn remove(&mut self, id: LookupdId) {
        let removed = self.lookupds.remove(&id);
        let named = removed.map(|lookupd| lookupd.nodes).unwrap_or_default();
        for known in self.nodes.values_mut() {
            known.sources.remove(&id);
        }
        for address in named.keys() {
            self.update(address);
        }
        self.decide();
    }

    /// Makes a round due.
    pub(crate) fn refresh(&mut self, now: Instant) {
        self.next = now;
    }

    /// Starts what is due, and returns the nsqlookupds to query. `random` is evenly distributed in
    /// `0.0..1.0`.
    pub(crate) fn poll(&mut self, now: Instant, random: f64) -> Vec<LookupdId> {
        if self.lookupds.is_empty() {
            return Vec::new();
        }
        if self.next <= now || self.early.next().is_some_and(|early| early <= now) {
            let jitter = self.timing.interval.mul_f64(self.timing.jitter * random);
            self.next = now + self.timing.interval + jitter;
            self.early.on_round(now);
            for lookupd in self.lookupds.values_mut() {
                lookupd.require(now);
            }
        }
        let mut queried = Vec::new();
        for (id, lookupd) in &mut self.lookupds {
            if lookupd.start(self.serial + 1, now) {
                self.serial += 1;
                queried.push(*id);
            }
        }
        queried
    }

    /// When [`poll`](Self::poll) has something to start.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let owed = self.lookupds.values().filter_map(Lookupd::deadline);
        let round = self.early.next().map_or(self.next, |it| it.min(self.next));
        let round = (!self.lookupds.is_empty()).then_some(round);
        owed.chain(round).min()
    }

    /// Takes the nodes of an answer, or that a query has failed.
    pub(crate) fn on_answer(&mut self, id: LookupdId, answer: Result<Vec<Node>, ()>) {
        let Some(lookupd) = self.lookupds.get_mut(&id) else {
            return;
        };
        let Some(began) = lookupd.finish(answer.is_ok()) else {
            return;
        };
        if let Ok(nodes) = answer {
            let nodes: BTreeMap<_, _> = nodes
                .into_iter()
                .map(|node| (Arc::clone(&node.address), node))
                .collect();
            let before = std::mem::take(&mut lookupd.nodes);
            for (address, node) in &nodes {
                self.on_named(id, address, node, began);
            }
            let kept = nodes.into_iter();
            let kept: BTreeMap<_, _> = kept
                .filter(|(address, _)| self.nodes.contains_key(address))
                .collect();
            let addresses: BTreeSet<_> = before.keys().chain(kept.keys()).cloned().collect();
            if let Some(lookupd) = self.lookupds.get_mut(&id) {
                lookupd.nodes = kept;
            }
            for address in &addresses {
                self.update(address);
            }
        }
        self.decide();
        self.check_early();
    }

    fn on_named(&mut self, id: LookupdId, address: &Arc<str>, node: &Node, began: u64) {
        let is_full = self.nodes.len() >= MAX_NODES;
        match self.nodes.get_mut(address) {
            Some(known) => {
                known.sources.insert(id);
                if matches!(known.connection, Connection::Lost { since } if since < began) {
                    known.connection = Connection::Dialling;
                    known.node = node.clone();
                    self.decisions.push(Decision::Dial(node.clone()));
                }
            }
            None if !is_full => {
                let known = Known {
                    node: node.clone(),
                    connection: Connection::Dialling,
                    sources: [id].into(),
                };
                self.nodes.insert(Arc::clone(address), known);
                self.decisions.push(Decision::Dial(node.clone()));
            }
            None => {}
        }
    }

    /// Unites what the nsqlookupds say of a node.
    fn update(&mut self, address: &Arc<str>) {
        let named = self.lookupds.values();
        let mut named = named.filter_map(|lookupd| lookupd.nodes.get(address));
        let Some(mut node) = named.next().cloned() else {
            return;
        };
        for other in named {
            node.add_topics(other);
        }
        if let Some(known) = self.nodes.get_mut(address) {
            // Each nsqlookupd may see another address of nsqd.
            node.remote_address.clone_from(&known.node.remote_address);
            if node != known.node {
                known.node = node.clone();
                self.decisions.push(Decision::Changed(node));
            }
        }
    }

    /// The owner has connected to a node.
    pub(crate) fn connected(&mut self, address: &str) {
        if let Some(known) = self.nodes.get_mut(address) {
            known.connection = Connection::Up;
        }
        self.early.on_connected(address);
        self.check_early();
    }

    /// The connection to a node was lost, and the owner waits for a decision.
    pub(crate) fn lost(&mut self, address: &str, now: Instant) {
        self.serial += 1;
        if let Some(known) = self.nodes.get_mut(address) {
            known.connection = Connection::Lost { since: self.serial };
        }
        self.early.on_lost(address.into(), now);
        self.decide();
    }

    /// The owner has closed the connection to a node, and does not want another one as long as the
    /// node is named.
    pub(crate) fn ignore(&mut self, address: &str) {
        if let Some(known) = self.nodes.get_mut(address) {
            known.connection = Connection::Dialling;
        }
        self.early.on_connected(address);
        self.decide();
        self.check_early();
    }

    /// Returns the decisions since the last call.
    pub(crate) fn take_decisions(&mut self) -> Vec<Decision> {
        std::mem::take(&mut self.decisions)
    }

    /// The known nodes, each with whether it is connected to.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&Node, bool)> {
        let nodes = self.nodes.values();
        nodes.map(|known| (&known.node, known.connection == Connection::Up))
    }

    /// Dials the lost nodes about which no nsqlookupd says anything, and drops those that are named
    /// no more.
    fn decide(&mut self) {
        let lookupds = &self.lookupds;
        let decisions = &mut self.decisions;
        self.nodes.retain(|address, known| {
            let since = match known.connection {
                Connection::Up => return true,
                Connection::Dialling => 0,
                Connection::Lost { since } => since,
            };
            let is_unnamed = |lookupd: &Lookupd| lookupd.answered_without(address, since);
            let mut sources = known.sources.iter().filter_map(|id| lookupds.get(id));
            if lookupds.values().any(is_unnamed) && sources.all(is_unnamed) {
                decisions.push(Decision::Drop(Arc::clone(address)));
                return false;
            }
            if since > 0 && lookupds.values().all(|lookupd| lookupd.failed(since)) {
                known.connection = Connection::Dialling;
                decisions.push(Decision::Dial(known.node.clone()));
            }
            true
        });
    }

    fn check_early(&mut self) {
        self.early.end_unless(self.nodes.is_empty());
    }
}

#[cfg(test)]
mod tests;
