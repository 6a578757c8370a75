//! What comes of the publishes: counts, times, and failures by their kind.

use std::{collections::BTreeMap, fmt, time::Duration};

use actix_nsq::PublishError;
use hdrhistogram::Histogram;

/// Longer times than this count as this.
const LONGEST: Duration = Duration::from_secs(3_600);

/// The outcome so far.
pub(crate) struct Meter {
    /// In messages.
    ok: u64,
    /// In messages.
    failed: u64,
    /// In messages, by kind and delivery, each with the text of the first.
    failures: BTreeMap<String, (u64, String)>,
    /// Nanoseconds to an ok, for each command.
    times: Histogram<u64>,
    took: Duration,
}

impl Meter {
    pub(crate) fn new() -> Result<Self, hdrhistogram::CreationError> {
        let longest = LONGEST.as_nanos() as u64;
        Ok(Self {
            ok: 0,
            failed: 0,
            failures: BTreeMap::new(),
            times: Histogram::new_with_bounds(1, longest, 3)?,
            took: Duration::ZERO,
        })
    }

    /// Takes note of the answer to a command with so many messages, which came after `time`.
    pub(crate) fn answered(
        &mut self,
        messages: u64,
        time: Duration,
        answer: Result<(), PublishError>,
    ) {
        match answer {
            Ok(()) => {
                self.ok += messages;
                self.times.saturating_record(time.as_nanos() as u64);
            }
            Err(error) => {
                let kind = format!("{:?}, {:?}", error.kind(), error.delivery());
                self.failed += messages;
                let first = || (0, error.to_string());
                self.failures.entry(kind).or_insert_with(first).0 += messages;
            }
        }
    }

    /// Says how long all of it took.
    pub(crate) fn end(&mut self, took: Duration) {
        self.took = took;
    }

    pub(crate) fn ok(&self) -> u64 {
        self.ok
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    pub(crate) fn took(&self) -> Duration {
        self.took
    }

    /// Microseconds within which this share of the ok commands was answered.
    pub(crate) fn quantile_us(&self, share: f64) -> f64 {
        self.times.value_at_quantile(share) as f64 / 1e3
    }

    /// Every kind of failure, with its count and the first one's text.
    pub(crate) fn failures(&self) -> impl fmt::Display {
        let told = self
            .failures
            .iter()
            .map(|(kind, (messages, first))| format!("{messages} x {kind}: {first}"));
        told.collect::<Vec<_>>().join("; ")
    }
}
