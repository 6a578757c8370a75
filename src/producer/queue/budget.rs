//! How many publishes one poll of the producer may visit, and how often all of them are visited.

use std::time::Duration;

/// Shortest time between two passes over all publishes, for each 100,000 of them: a pass over so
/// many takes a few milliseconds, which is a small part of the time.
const PASS_INTERVAL: Duration = Duration::from_millis(20);

/// Returns the shortest time between two passes over this many publishes.
pub(super) fn pass_interval(publishes: usize) -> Duration {
    let times = u32::try_from(1 + publishes / 100_000).unwrap_or(u32::MAX);
    PASS_INTERVAL.saturating_mul(times)
}

/// The budget of a poll: other tasks of the arbiter wait no longer than such a poll takes.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    spent: usize,
    /// The most that was spent between two renewals.
    #[cfg(test)]
    pub(super) most: usize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            spent: 0,
            #[cfg(test)]
            most: 0,
        }
    }

    pub(super) fn spend(&mut self, publishes: usize) {
        self.spent += publishes;
    }

    pub(super) fn left(&self) -> usize {
        self.limit.saturating_sub(self.spent)
    }

    /// Returns whether this many publishes may be visited together. The first ones of a poll always
    /// may.
    pub(super) fn allows(&self, publishes: usize) -> bool {
        self.spent == 0 || publishes <= self.left()
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.spent >= self.limit
    }

    /// Starts another poll.
    pub(super) fn renew(&mut self) {
        #[cfg(test)]
        {
            self.most = self.most.max(self.spent);
        }
        self.spent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// contract: 1
    #[test]
    fn passes_are_rarer_with_many_publishes() {
        let interval = |publishes| pass_interval(publishes).as_millis();
        assert_eq!([0, 1, 99_999].map(interval), [20, 20, 20]);
        assert_eq!([100_000, 1_000_000].map(interval), [40, 220]);
    }
}
