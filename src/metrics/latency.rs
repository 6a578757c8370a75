//! Distribution of durations, in a fixed table of buckets.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};

/// Buckets per power of two: 2 to the power of this.
const PRECISION: u32 = 3;

/// Latencies of 2 to the power of this many microseconds (67 s) and more share the last bucket.
const RANGE: u32 = 26;

/// One bucket for each microsecond below 8, 8 buckets for each power of two from there, and the
/// last bucket.
const BUCKETS: usize = ((RANGE - PRECISION + 1) << PRECISION) as usize + 1;

/// Durations: count, sum, maximum and a histogram.
///
/// Of a producer or pool they are those of the publishes answered `Ok`: the time from the
/// acceptance of a publish to nsqd's `OK`, including the time that a
/// [`ProducerHandle`](crate::ProducerHandle) waited for capacity. Of a consumer they are those of
/// the messages that its handler answered, dropped, or held beyond `handler_timeout`: the time from
/// their start to that.
///
/// The histogram has a fixed size of 1.5 KiB. Each power of two microseconds is divided into 8
/// buckets, so a [`quantile`](Self::quantile) is at most 12.5 % (or 1 µs) above the exact value.
/// Durations above 67 s share one bucket.
///
/// All values count since the actor was started. [`since`](Self::since) returns the values of an
/// interval:
///
/// ```
/// # use actix_nsq::producer::Stats;
/// # fn example(earlier: &Stats, now: &Stats) {
/// let latency = now.latency.since(&earlier.latency);
/// if let Some(p99) = latency.quantile(0.99) {
///     println!("99 % of {} publishes took at most {p99:?}", latency.count());
/// }
/// # }
/// ```
///
/// It is serialized as a summary in whole microseconds: `count`, `sum_us`, `p50_us`, `p90_us`,
/// `p99_us`, `p999_us` and `max_us`.
#[derive(Clone, PartialEq, Eq)]
pub struct Latency {
    count: u64,
    /// In nanoseconds.
    sum: u64,
    /// In nanoseconds.
    max: u64,
    buckets: [u64; BUCKETS],
}

impl Latency {
    /// Returns the number of durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns their sum.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum)
    }

    /// Returns the average, or `None` if there is none.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        self.sum.checked_div(self.count).map(Duration::from_nanos)
    }

    /// Returns the maximum, or `None` if there is none.
    ///
    /// After [`since`](Self::since) it is an upper bound with the precision of a quantile.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        (self.count > 0).then_some(Duration::from_nanos(self.max))
    }

    /// Returns the duration that the fraction `q` of all did not exceed, or `None` if there is
    /// none. `q` is limited to the range from 0 to 1; 0.99 returns the 99th
    /// percentile.
    ///
    /// The result is the upper bound of a bucket and at most [`max`](Self::max).
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = (self.count as f64 * q.clamp(0.0, 1.0)).ceil() as u64;
        let bound = self
            .buckets()
            .find(|(_, count)| *count >= rank.max(1))
            .map(|(bound, _)| bound);
        let max = self.max()?;
        Some(bound.map_or(max, |bound| bound.min(max)))
    }

    /// Returns the upper bound of each bucket and the number of durations below it, in ascending
    /// order. The bounds are the same for every `Latency`, as a Prometheus histogram needs.
    ///
    /// Durations above the last bound (67 s) are included in [`count`](Self::count) only.
    ///
    /// Every bound above 8 µs that is a power of two microseconds is followed by the next after
    /// 8 buckets. `latency.buckets().skip(7).step_by(8)` returns the 24 powers of two from 8 µs to
    /// 67 s.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let mut count = 0;
        let regular = self.buckets.iter().take(BUCKETS - 1).enumerate();
        regular.map(move |(index, publishes)| {
            count += publishes;
            (upper_bound(index), count)
        })
    }

    /// Returns what was recorded after the snapshot `earlier` of the same actor.
    ///
    /// For a snapshot of another one the result has no meaning; it never panics.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        for (bucket, before) in since.buckets.iter_mut().zip(earlier.buckets) {
            *bucket = bucket.saturating_sub(before);
        }
        since.count = self.count.saturating_sub(earlier.count);
        since.sum = self.sum.saturating_sub(earlier.sum);
        let last = since.buckets.iter().rposition(|bucket| *bucket > 0);
        if let Some(last) = last.filter(|last| *last < BUCKETS - 1) {
            since.max = self.max.min(nanos(upper_bound(last)));
        }
        since
    }

    /// Adds those of another actor.
    pub(crate) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
        for (bucket, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket += more;
        }
    }

    /// Records a duration this many times.
    pub(crate) fn record(&mut self, duration: Duration, times: u64) {
        let nanos = nanos(duration);
        self.count = self.count.saturating_add(times);
        self.sum = self.sum.saturating_add(nanos.saturating_mul(times));
        self.max = self.max.max(nanos);
        if let Some(bucket) = self.buckets.get_mut(index(nanos / 1_000)) {
            *bucket = bucket.saturating_add(times);
        }
    }

    fn summary(&self) -> Summary {
        let micros = |latency: Duration| nanos(latency) / 1_000;
        let quantile = |q| self.quantile(q).map(micros);
        Summary {
            count: self.count,
            sum_us: self.sum / 1_000,
            p50_us: quantile(0.5),
            p90_us: quantile(0.9),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            max_us: self.max().map(micros),
        }
    }
}

/// What is serialized of a [`Latency`].
#[derive(Debug, Serialize)]
struct Summary {
    count: u64,
    sum_us: u64,
    p50_us: Option<u64>,
    p90_us: Option<u64>,
    p99_us: Option<u64>,
    p999_us: Option<u64>,
    max_us: Option<u64>,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            count: 0,
            sum: 0,
            max: 0,
            buckets: [0; BUCKETS],
        }
    }
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.summary().serialize(serializer)
    }
}

/// Shows the summary that is serialized, not the buckets.
impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Latency").field(&self.summary()).finish()
    }
}

/// Such as `mean 1.2ms, p50 1.1ms, p90 1.5ms, p99 3.1ms, p99.9 4.0ms, max 4.0ms`.
impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((mean, max)) = self.mean().zip(self.max()) else {
            return f.write_str("none");
        };
        write!(f, "mean {mean:.1?}")?;
        for (name, q) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)] {
            write!(f, ", {name} {:.1?}", self.quantile(q).unwrap_or(max))?;
        }
        write!(f, ", max {max:.1?}")
    }
}

/// Whole nanoseconds, at most `u64::MAX` (584 years).
fn nanos(duration: Duration) -> u64 {
    let seconds = duration.as_secs().saturating_mul(1_000_000_000);
    seconds.saturating_add(duration.subsec_nanos().into())
}

/// The bucket of a latency in microseconds.
fn index(micros: u64) -> usize {
    let shift = micros.max(1).ilog2().saturating_sub(PRECISION);
    let index = (u64::from(shift) << PRECISION) + (micros >> shift);
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

/// The bound that all latencies of a bucket are below; the last bucket has none.
fn upper_bound(index: usize) -> Duration {
    let shift = (index >> PRECISION).saturating_sub(1);
    let next = index - (shift << PRECISION) + 1;
    Duration::from_micros((next as u64) << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: fn(u64) -> Duration = Duration::from_micros;

    fn recorded(latencies: &[Duration]) -> Latency {
        let mut latency = Latency::default();
        for time in latencies {
            latency.record(*time, 1);
        }
        latency
    }

    /// Spread over all magnitudes from 1 µs to 67 s.
    fn random(rng: &mut fastrand::Rng) -> Duration {
        Duration::from_nanos((1_000.0 * 2_f64.powf(rng.f64() * 26.0)) as u64)
    }

    #[test]
    fn bucket_bounds_enclose_every_latency() {
        for bits in 0..64 {
            for micros in [(1_u64 << bits) - 1, 1 << bits, (1 << bits) + 1] {
                let index = index(micros);
                if micros >= 1 << RANGE {
                    assert_eq!(index, BUCKETS - 1);
                    continue;
                }
                assert!(US(micros) < upper_bound(index), "{micros}");
                assert!(index == 0 || upper_bound(index - 1) <= US(micros));
            }
        }
        assert_eq!(upper_bound(BUCKETS - 2), US(1 << RANGE));
    }

    /// checklist: 105
    #[test]
    fn quantiles_exceed_exact_values_by_an_eighth_at_most() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let mut latencies: Vec<_> = (0..rng.usize(1..500)).map(|_| random(&mut rng)).collect();
            let latency = recorded(&latencies);
            latencies.sort_unstable();
            for q in [0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0] {
                let rank = (latencies.len() as f64 * q).ceil() as usize;
                let exact = latencies[rank.max(1) - 1];
                let found = latency.quantile(q).unwrap();
                let most = exact + (exact / 8).max(US(1));
                assert!(exact <= found && found <= most, "{exact:?} {found:?}");
            }
            let sum: Duration = latencies.iter().sum();
            assert_eq!(latency.count(), latencies.len() as u64);
            assert_eq!(latency.sum(), sum);
            assert_eq!(latency.mean(), Some(sum / latencies.len() as u32));
            assert_eq!(latency.max(), latencies.last().copied());
        }
    }

    #[test]
    fn interval_contains_only_later_latencies() {
        let mut rng = fastrand::Rng::with_seed(2);
        for _ in 0..200 {
            let mut all: Vec<_> = (0..rng.usize(1..300)).map(|_| random(&mut rng)).collect();
            let (before, after) = all.split_at(rng.usize(0..all.len()));
            let (earlier, expected) = (recorded(before), recorded(after));
            let since = recorded(&all).since(&earlier);
            assert_eq!(since.buckets, expected.buckets);
            assert_eq!((since.count, since.sum), (expected.count, expected.sum));
            let (max, exact) = (since.max().unwrap(), expected.max().unwrap());
            assert!(exact <= max && max <= exact + (exact / 8).max(US(1)));
            all.clear();
        }
    }

    #[test]
    fn buckets_are_cumulative_with_fixed_bounds() {
        let latency = recorded(&[US(3), US(8), US(1_000), Duration::from_secs(100)]);
        assert_eq!(latency.buckets().count(), BUCKETS - 1);
        assert!(latency.buckets().is_sorted());
        let powers: Vec<_> = latency.buckets().skip(7).step_by(8).collect();
        assert_eq!(powers.len(), 24);
        assert_eq!(powers[0], (US(8), 1));
        assert_eq!(powers[1], (US(16), 2));
        assert_eq!(powers[6], (US(512), 2));
        assert_eq!(powers[7], (US(1_024), 3));
        assert_eq!(powers[23], (US(1 << 26), 3));
        assert_eq!(latency.count(), 4);
        assert_eq!(latency.quantile(1.0), Some(Duration::from_secs(100)));
    }

    #[test]
    fn empty_latency_has_no_quantiles() {
        let empty = Latency::default();
        assert_eq!(empty.quantile(0.5), None);
        assert_eq!((empty.mean(), empty.max()), (None, None));
        assert_eq!(empty.to_string(), "none");
        assert_eq!(empty.since(&empty), empty);
    }

    #[test]
    fn latency_is_shown_and_serialized_as_summary() {
        let latency = recorded(&[US(1_000), US(2_000)]);
        assert_eq!(
            latency.to_string(),
            "mean 1.5ms, p50 1.0ms, p90 2.0ms, p99 2.0ms, p99.9 2.0ms, max 2.0ms"
        );
        assert_eq!(
            serde_json::to_string(&latency).unwrap(),
            concat!(
                r#"{"count":2,"sum_us":3000,"p50_us":1024,"p90_us":2000,"#,
                r#""p99_us":2000,"p999_us":2000,"max_us":2000}"#
            )
        );
    }

    #[test]
    fn extreme_latencies_do_not_overflow() {
        let latency = recorded(&[Duration::MAX, Duration::MAX, Duration::ZERO]);
        assert_eq!(latency.count(), 3);
        assert_eq!(latency.quantile(0.1), Some(US(1)));
        assert_eq!(latency.max(), Some(Duration::from_nanos(u64::MAX)));
    }
}
