//! The time that each producer was without service because of a fault. Pure: time is passed in.

use std::time::Duration;

/// Maximum time from nsqd being up again to an ok of every producer.
pub(crate) const MAX_RECOVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Outages {
    producers: Vec<Producer>,
    /// Time at which nsqd was up again.
    up_since: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Producer {
    /// Beginning of the current outage.
    unserved_since: Option<Duration>,
    /// Sum of the previous outages.
    outage: Duration,
}

impl Outages {
    pub(crate) fn new(producers: usize) -> Self {
        Self {
            producers: vec![Producer::default(); producers],
            up_since: None,
        }
    }

    /// A fault begins.
    pub(crate) fn begin(&mut self, now: Duration) {
        self.up_since = None;
        for producer in &mut self.producers {
            producer.unserved_since.get_or_insert(now);
        }
    }

    /// nsqd is up again.
    pub(crate) fn nsqd_is_up(&mut self, now: Duration) {
        self.up_since = Some(now);
    }

    /// A producer had an ok. While nsqd is down, that is a late response from before the fault.
    pub(crate) fn served(&mut self, producer: usize, now: Duration) {
        if let Some(up_since) = self.up_since
            && let Some(producer) = self.producers.get_mut(producer)
        {
            producer.end(now.min(up_since + MAX_RECOVERY));
        }
    }

    /// Number of producers without service.
    pub(crate) fn unserved(&self) -> usize {
        let unserved = |producer: &&Producer| producer.unserved_since.is_some();
        self.producers.iter().filter(unserved).count()
    }

    /// Ends the outage of all producers.
    pub(crate) fn end(&mut self, now: Duration) {
        let latest = self
            .up_since
            .map_or(now, |up_since| up_since + MAX_RECOVERY);
        for producer in &mut self.producers {
            producer.end(now.min(latest));
        }
    }

    /// Mean outage per producer.
    pub(crate) fn mean(&self) -> Duration {
        let sum: Duration = self.producers.iter().map(|producer| producer.outage).sum();
        let count = self.producers.len().max(1);
        sum / u32::try_from(count).unwrap_or(u32::MAX)
    }
}

impl Producer {
    fn end(&mut self, now: Duration) {
        if let Some(since) = self.unserved_since.take() {
            self.outage += now.saturating_sub(since);
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
    fn outage_lasts_from_the_fault_to_the_first_ok_after_it() {
        let mut outages = Outages::new(2);
        outages.served(0, secs(1));
        outages.begin(secs(2));
        assert_eq!(outages.unserved(), 2);
        // A late response.
        outages.served(0, secs(3));
        assert_eq!(outages.unserved(), 2);
        outages.nsqd_is_up(secs(4));
        outages.served(0, secs(6));
        outages.served(0, secs(9));
        assert_eq!(outages.unserved(), 1);
        outages.served(1, secs(8));
        assert_eq!((outages.unserved(), outages.mean()), (0, secs(5)));
    }

    #[test]
    fn outage_after_nsqd_is_up_counts_for_at_most_ten_seconds() {
        let mut outages = Outages::new(1);
        outages.begin(secs(1));
        outages.nsqd_is_up(secs(2));
        outages.end(secs(100));
        assert_eq!((outages.unserved(), outages.mean()), (0, secs(11)));
    }
}
