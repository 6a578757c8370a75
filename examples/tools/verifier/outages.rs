//! For how long each producer could not be served because nsqd was struck: pure bookkeeping, of times that others tell.

use std::time::Duration;

/// So long after nsqd is back every producer must have been served again.
pub(crate) const LONGEST_WAY_BACK: Duration = Duration::from_secs(10);

/// Times are told from any one beginning.
#[derive(Debug)]
pub(crate) struct Outages {
    producers: Vec<Producer>,
    back: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Producer {
    /// Struck then, and not served since nsqd was back.
    away_since: Option<Duration>,
    away: Duration,
}

impl Outages {
    pub(crate) fn new(producers: usize) -> Self {
        Self {
            producers: vec![Producer::default(); producers],
            back: None,
        }
    }

    /// nsqd is struck now.
    pub(crate) fn begin(&mut self, now: Duration) {
        self.back = None;
        for producer in &mut self.producers {
            producer.away_since.get_or_insert(now);
        }
    }

    /// nsqd serves again.
    pub(crate) fn nsqd_is_back(&mut self, now: Duration) {
        self.back = Some(now);
    }

    /// The producer was answered ok. While nsqd is away, that is a late answer from before.
    pub(crate) fn served(&mut self, producer: usize, now: Duration) {
        if let Some(back) = self.back
            && let Some(producer) = self.producers.get_mut(producer)
        {
            producer.end(now.min(back + LONGEST_WAY_BACK));
        }
    }

    /// How many have not been served again.
    pub(crate) fn away(&self) -> usize {
        let away = |producer: &&Producer| producer.away_since.is_some();
        self.producers.iter().filter(away).count()
    }

    /// Nobody is waited for any longer, since the time is over or the trial is.
    pub(crate) fn end(&mut self, now: Duration) {
        let longest = self.back.map_or(now, |back| back + LONGEST_WAY_BACK);
        for producer in &mut self.producers {
            producer.end(now.min(longest));
        }
    }

    /// How long a producer was away, in the middle.
    pub(crate) fn mean(&self) -> Duration {
        let sum: Duration = self.producers.iter().map(|producer| producer.away).sum();
        let count = self.producers.len().max(1);
        sum / u32::try_from(count).unwrap_or(u32::MAX)
    }
}

impl Producer {
    fn end(&mut self, now: Duration) {
        if let Some(since) = self.away_since.take() {
            self.away += now.saturating_sub(since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_producer_is_away_from_the_fault_to_its_first_ok_after_nsqd_is_back() {
        let mut outages = Outages::new(2);
        outages.served(0, secs(1));
        outages.begin(secs(2));
        assert_eq!(outages.away(), 2);
        // An answer that was on its way.
        outages.served(0, secs(3));
        assert_eq!(outages.away(), 2);
        outages.nsqd_is_back(secs(4));
        outages.served(0, secs(6));
        outages.served(0, secs(9));
        assert_eq!(outages.away(), 1);
        outages.served(1, secs(8));
        assert_eq!((outages.away(), outages.mean()), (0, secs(5)));
    }

    #[test]
    fn who_does_not_come_back_is_excused_for_ten_seconds_only() {
        let mut outages = Outages::new(1);
        outages.begin(secs(1));
        outages.nsqd_is_back(secs(2));
        outages.end(secs(100));
        assert_eq!((outages.away(), outages.mean()), (0, secs(11)));
    }
}
