//! What is known of one nsqlookupd. Pure.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::protocol::node::Node;

/// Shortest time between the starts of two queries of which the second was due while the first ran.
const SHORTEST: Duration = Duration::from_secs(1);

/// The last query that has ended.
#[derive(Debug, Clone, Copy)]
struct Ended {
    /// Its number.
    began: u64,
    is_answered: bool,
}

#[derive(Debug)]
pub(super) struct Lookupd {
    /// Number of the query that runs.
    running: Option<u64>,
    last: Option<Ended>,
    /// When the next query is to start, if one is due.
    due: Option<Instant>,
    started: Option<Instant>,
    /// The nodes of the last answer.
    pub(super) nodes: BTreeMap<Arc<str>, Node>,
}

impl Lookupd {
    /// A query is due at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            running: None,
            last: None,
            due: Some(now),
            started: None,
            nodes: BTreeMap::new(),
        }
    }

    /// A round requires a query: now, or after the one that runs.
    pub(super) fn require(&mut self, now: Instant) {
        let at = match (self.running, self.started) {
            (Some(_), Some(started)) => now.max(started + SHORTEST),
            _ => now,
        };
        self.due.get_or_insert(at);
    }

    /// Starts a query with this number if one is due and none runs.
    pub(super) fn start(&mut self, number: u64, now: Instant) -> bool {
        let is_due = self.running.is_none() && self.due.is_some_and(|due| due <= now);
        if is_due {
            self.running = Some(number);
            self.started = Some(now);
            self.due = None;
        }
        is_due
    }

    /// When a query is to start.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.filter(|_| self.running.is_none())
    }

    /// Ends the query that runs, and returns its number.
    pub(super) fn finish(&mut self, is_answered: bool) -> Option<u64> {
        let began = self.running.take()?;
        self.last = Some(Ended { began, is_answered });
        Some(began)
    }

    /// Whether the last query began after `since`, and its answer does not name a node.
    pub(super) fn answered_without(&self, address: &str, since: u64) -> bool {
        let is_new = |last: Ended| last.is_answered && last.began > since;
        self.last.is_some_and(is_new) && !self.nodes.contains_key(address)
    }

    /// Whether the last query began after `since` and failed.
    pub(super) fn failed(&self, since: u64) -> bool {
        self.last
            .is_some_and(|last| !last.is_answered && last.began > since)
    }
}
