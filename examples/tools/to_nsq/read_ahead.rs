//! Limits the records that are sent to a producer and have no result, by what nsqd answers in time.
//!
//! A record that waits behind more than the connection carries within its timeout fails. So the
//! limit grows only while results arrive early, and shrinks when one is late.

use std::time::{Duration, Instant};

/// Records and bytes at scale 1. A record of at most 1 KiB counts as one.
const RECORDS: f64 = 16.0;
const BYTES: f64 = (16 << 10) as f64;

/// Scale at which a pool begins: several of its runs, so that what is in flight at one nsqd that
/// hangs does not stop those to the others.
const POOL_SCALE: f64 = 64.0;

/// Minimum scale: one record.
const MIN_SCALE: f64 = 1.0 / RECORDS;

/// The limit, and what is outstanding.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    /// A later result shrinks the limit.
    late: Duration,
    max_records: usize,
    max_bytes: usize,
    /// The limit in multiples of `RECORDS` and `BYTES`.
    scale: f64,
    records: usize,
    bytes: usize,
    /// When the limit last shrank. Records that were sent before were sent within a larger one.
    shrunk: Option<Instant>,
}

impl ReadAhead {
    /// Results later than `late` are too late; `max_records` and `max_bytes` are never exceeded.
    pub(crate) fn new(late: Duration, max_records: usize, max_bytes: usize) -> Self {
        Self {
            late,
            max_records,
            max_bytes,
            scale: 1.0,
            records: 0,
            bytes: 0,
            shrunk: None,
        }
    }

    /// The same for a pool.
    pub(crate) fn of_pool(late: Duration, max_records: usize, max_bytes: usize) -> Self {
        Self {
            scale: POOL_SCALE,
            ..Self::new(late, max_records, max_bytes)
        }
    }

    /// Whether a record of this size may be sent. One may always be outstanding.
    pub(crate) fn allows(&self, size: usize) -> bool {
        let (records, bytes) = (RECORDS * self.scale, BYTES * self.scale);
        self.records == 0
            || self.allows_unscaled(size)
                && (self.records + 1) as f64 <= records
                && self.bytes.saturating_add(size) as f64 <= bytes
    }

    /// The same without regard to the time of results, for records that wait for no other.
    pub(crate) fn allows_unscaled(&self, size: usize) -> bool {
        self.records == 0
            || self.records < self.max_records && self.bytes.saturating_add(size) <= self.max_bytes
    }

    /// A record was sent.
    pub(crate) fn send(&mut self, size: usize) {
        self.records += 1;
        self.bytes += size;
    }

    /// A record that was sent has a result, which says how fast nsqd is.
    pub(crate) fn answered(&mut self, size: usize, sent: Instant, now: Instant) {
        let is_used = self.is_used();
        self.release(size);
        let latency = now.saturating_duration_since(sent);
        if latency > self.late {
            if self.shrunk.is_none_or(|shrunk| shrunk < sent) {
                self.scale = (self.scale / 2.0).max(MIN_SCALE);
                self.shrunk = Some(now);
            }
        } else if is_used && latency < self.late / 2 {
            // Doubles with each full limit of results.
            self.scale += (1.0 / RECORDS).max(size as f64 / BYTES);
        }
    }

    /// A record that was sent is not outstanding any more.
    pub(crate) fn release(&mut self, size: usize) {
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size);
    }

    /// Whether at least half of the limit is in use, and it may grow. A limit that was never
    /// reached says nothing about a larger one.
    fn is_used(&self) -> bool {
        let (records, bytes) = (RECORDS * self.scale, BYTES * self.scale);
        let is_half = self.records as f64 * 2.0 >= records || self.bytes as f64 * 2.0 >= bytes;
        is_half && (records < self.max_records as f64 || bytes < self.max_bytes as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_secs(2);

    /// Sends records of this size through a line that carries `rate` bytes per second, for a while,
    /// and returns the longest time to a result, and the mean number of bytes outstanding.
    fn run(rate: f64, round_trip: f64, size: usize) -> (f64, f64) {
        let mut read_ahead = ReadAhead::new(LATE, 20_000, 8 << 20);
        let started = Instant::now();
        let (mut clock, mut line_free, mut slowest, mut carried) = (0.0_f64, 0.0_f64, 0.0_f64, 0);
        let mut outstanding = std::collections::VecDeque::new();
        while clock < 20.0 {
            while read_ahead.allows(size) {
                line_free = line_free.max(clock) + size as f64 / rate;
                outstanding.push_back((clock, line_free + round_trip));
                read_ahead.send(size);
            }
            let (sent, answered) = outstanding.pop_front().unwrap();
            clock = answered;
            let at = |time| started + Duration::from_secs_f64(time);
            read_ahead.answered(size, at(sent), at(clock));
            slowest = slowest.max(answered - sent);
            carried += size;
        }
        (slowest, carried as f64 / clock)
    }

    #[test]
    fn slow_line_is_used_fully_and_answers_in_time() {
        for (rate, round_trip, size) in [
            (30e3, 0.0, 100),
            (20e3, 0.02, 20),
            (125e3, 0.3, 10_000),
            (1e6, 0.02, 200),
            (125e3, 0.0, 100_000),
        ] {
            let (slowest, carried) = run(rate, round_trip, size);
            assert!(
                slowest < 1.3 * LATE.as_secs_f64(),
                "{rate} {size}: {slowest} s"
            );
            assert!(carried > 0.9 * rate, "{rate} {size}: {carried} bytes/s");
        }
    }

    #[test]
    fn limit_shrinks_once_for_the_records_of_one_limit() {
        let mut read_ahead = ReadAhead::new(LATE, 20_000, 8 << 20);
        let now = Instant::now();
        let count = |read_ahead: &mut ReadAhead| {
            let sends = (0..).take_while(|_| {
                read_ahead.allows(1) && {
                    read_ahead.send(1);
                    true
                }
            });
            sends.count()
        };
        assert_eq!(count(&mut read_ahead), 16);
        for _ in 0..16 {
            read_ahead.answered(1, now, now + 2 * LATE);
        }
        assert_eq!(count(&mut read_ahead), 8);
    }
}
