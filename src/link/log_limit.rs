//! Limits how often similar records are logged. Pure.

use std::time::{Duration, Instant};

use log::Level;

/// Records that pass in a row: an operator sees how trouble begins.
const BURST: u32 = 10;

/// Then one passes per interval: 1,440 a day.
const INTERVAL: Duration = Duration::from_secs(60);

/// Lets some records pass, and counts the others.
#[derive(Debug)]
pub(crate) struct LogLimit {
    left: u32,
    /// When the next record is allowed beyond those left.
    next: Option<Instant>,
    suppressed: u64,
}

impl LogLimit {
    /// Returns the level of a record and its text, which says how many before it were suppressed.
    /// A suppressed record has the level `Debug`.
    pub(crate) fn apply(&mut self, level: Level, message: String, now: Instant) -> (Level, String) {
        match self.pass(now) {
            Some(0) => (level, message),
            Some(count) => {
                let message = format!("{message} ({count} records like this were suppressed)");
                (level, message)
            }
            None => (Level::Debug, message),
        }
    }

    /// Returns how many records were suppressed since the last one that passed, or `None` if this
    /// one is suppressed.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        while let Some(next) = self.next.filter(|next| *next <= now) {
            self.left += 1;
            self.next = (self.left < BURST).then(|| next + INTERVAL);
        }
        if self.left == 0 {
            self.suppressed += 1;
            return None;
        }
        self.left -= 1;
        self.next.get_or_insert(now + INTERVAL);
        Some(std::mem::take(&mut self.suppressed))
    }
}

impl Default for LogLimit {
    fn default() -> Self {
        Self {
            left: BURST,
            next: None,
            suppressed: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_passes_and_then_one_record_a_minute() {
        let (mut limit, start) = (LogLimit::default(), Instant::now());
        let mut passed = Vec::new();
        for second in 0..600 {
            if let Some(suppressed) = limit.pass(start + Duration::from_secs(second)) {
                passed.push((second, suppressed));
            }
        }
        let burst = (0..10).map(|second| (second, 0));
        let later = (1..10).map(|minute| (60 * minute, if minute == 1 { 50 } else { 59 }));
        assert_eq!(passed, burst.chain(later).collect::<Vec<_>>());
        // After an hour of silence a burst passes again.
        let later = start + Duration::from_secs(4_200);
        assert_eq!(limit.pass(later), Some(59));
        assert!((1..10).all(|_| limit.pass(later) == Some(0)));
        assert_eq!(limit.pass(later), None);
    }
}
