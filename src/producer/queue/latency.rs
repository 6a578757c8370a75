//! How long publishes took from their acceptance to nsqd's `OK`.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Two significant digits: a percentile is at most 1 % off.
const DIGITS: u8 = 2;

/// Times from acceptance to `OK`, in microseconds. `None` only if the histogram could not be made.
#[derive(Debug)]
pub(super) struct Latencies(Option<Histogram<u64>>);

impl Default for Latencies {
    fn default() -> Self {
        let longest = Duration::from_secs(86_400).as_micros() as u64;
        Self(Histogram::new_with_max(longest, DIGITS).ok())
    }
}

impl Latencies {
    /// Takes note of publishes that are answered now, by when they were accepted: those of one burst at once.
    pub(super) fn record_all(&mut self, accepted: impl Iterator<Item = Instant>, now: Instant) {
        let mut burst: Option<(Instant, u64)> = None;
        for accepted in accepted {
            match &mut burst {
                Some((since, publishes)) if *since == accepted => *publishes += 1,
                _ => {
                    if let Some((since, publishes)) = burst.replace((accepted, 1)) {
                        self.record(now.saturating_duration_since(since), publishes);
                    }
                }
            }
        }
        if let Some((since, publishes)) = burst {
            self.record(now.saturating_duration_since(since), publishes);
        }
    }

    fn record(&mut self, latency: Duration, publishes: u64) {
        if let Some(histogram) = &mut self.0 {
            let micros = latency.as_micros().try_into().unwrap_or(u64::MAX);
            histogram.saturating_record_n(micros, publishes);
        }
    }

    pub(super) fn summary(&self) -> Latency {
        let Some(histogram) = self.0.as_ref().filter(|histogram| !histogram.is_empty()) else {
            return Latency::default();
        };
        let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
        Latency {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: Duration::from_micros(histogram.max()),
        }
    }
}

/// Times from the acceptance of a publish to nsqd's `OK`, since the producer started: half of the publishes took at
/// most `p50`, and so on. Each is at most 1 % off. All are zero as long as there was no `OK`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latency {
    /// 50 % took at most this long.
    pub p50: Duration,
    /// 90 % took at most this long.
    pub p90: Duration,
    /// 99 % took at most this long.
    pub p99: Duration,
    /// 99.9 % took at most this long.
    pub p999: Duration,
    /// The longest.
    pub max: Duration,
}
