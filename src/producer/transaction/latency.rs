//! How long publishes took from their acceptance to nsqd's `OK`.

use std::time::Duration;

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
    pub(super) fn record(&mut self, latency: Duration) {
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(latency.as_micros().try_into().unwrap_or(u64::MAX));
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
