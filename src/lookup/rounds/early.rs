//! The rounds before the next regular one. Pure.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

/// Shortest time between two early rounds, also if connections are lost more often.
const SHORTEST: Duration = Duration::from_secs(1);

/// Maximum number of lost nodes whose connections a series waits for: that of known nodes. More are
/// not waited for.
const MAX_LOST: usize = 1_000;

/// A series of rounds at 0, 1, 2, 4, 8 s and so on after it begins, up to the interval. It ends
/// before that when all lost nodes are connected again, if any, and a node is known.
#[derive(Debug)]
pub(super) struct EarlyRounds {
    interval: Duration,
    series: Option<Series>,
    /// The nodes whose connections were lost since the series began.
    lost: BTreeSet<Arc<str>>,
    /// The last early round.
    last: Option<Instant>,
}

#[derive(Debug)]
struct Series {
    began: Instant,
    /// Number of the next round.
    step: u32,
}

impl Series {
    fn offset(&self) -> Duration {
        match self.step.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => {
                Duration::from_secs(1_u64.checked_shl(doublings).unwrap_or(u64::MAX))
            }
        }
    }
}

impl EarlyRounds {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            series: None,
            lost: BTreeSet::new(),
            last: None,
        }
    }

    /// Begins a series at `now`, instead of one that runs.
    pub(super) fn begin(&mut self, now: Instant) {
        self.series = Some(Series {
            began: now,
            step: 0,
        });
    }

    pub(super) fn on_lost(&mut self, address: Arc<str>, now: Instant) {
        if self.lost.len() < MAX_LOST {
            self.lost.insert(address);
        }
        self.begin(now);
    }

    pub(super) fn on_connected(&mut self, address: &str) {
        self.lost.remove(address);
    }

    /// Ends the series if nothing is waited for.
    pub(super) fn end_unless(&mut self, nothing_is_known: bool) {
        if self.lost.is_empty() && !nothing_is_known {
            self.series = None;
        }
    }

    /// When the next early round is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let series = self.series.as_ref()?;
        let at = series.began + series.offset();
        Some(self.last.map_or(at, |last| at.max(last + SHORTEST)))
    }

    /// A round begins, due or not.
    pub(super) fn on_round(&mut self, now: Instant) {
        let Some(series) = &mut self.series else {
            return;
        };
        self.last = Some(now);
        while series.began + series.offset() <= now {
            series.step += 1;
            if series.offset() > self.interval {
                self.series = None;
                self.lost.clear();
                return;
            }
        }
    }
}
