//! The results of the publishes: counts, latencies, and failures by kind.

use std::{collections::BTreeMap, fmt, time::Duration};

use actix_nsq::PublishError;
use hdrhistogram::Histogram;

/// Maximum latency that is recorded; longer ones count as this.
const MAX_LATENCY: Duration = Duration::from_secs(3_600);

pub(crate) struct Measurement {
    /// Messages.
    ok: u64,
    /// Messages.
    failed: u64,
    /// Messages by kind and delivery, each with the text of the first error.
    failures: BTreeMap<String, (u64, String)>,
    /// Nanoseconds of the commands that are ok.
    latency: Histogram<u64>,
    duration: Duration,
}

impl Measurement {
    pub(crate) fn new() -> Result<Self, hdrhistogram::CreationError> {
        let max = MAX_LATENCY.as_nanos() as u64;
        Ok(Self {
            ok: 0,
            failed: 0,
            failures: BTreeMap::new(),
            latency: Histogram::new_with_bounds(1, max, 3)?,
            duration: Duration::ZERO,
        })
    }

    /// Records the result of a command with this number of messages.
    pub(crate) fn record(
        &mut self,
        messages: u64,
        latency: Duration,
        result: Result<(), PublishError>,
    ) {
        match result {
            Ok(()) => {
                self.ok += messages;
                self.latency.saturating_record(latency.as_nanos() as u64);
            }
            Err(error) => {
                let kind = format!("{:?}, {:?}", error.kind(), error.delivery());
                self.failed += messages;
                let first = || (0, error.to_string());
                self.failures.entry(kind).or_insert_with(first).0 += messages;
            }
        }
    }

    /// Sets the duration of the whole run.
    pub(crate) fn finish(&mut self, duration: Duration) {
        self.duration = duration;
    }

    pub(crate) fn ok(&self) -> u64 {
        self.ok
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    pub(crate) fn duration(&self) -> Duration {
        self.duration
    }

    /// Quantile of the latency of the ok commands, in microseconds.
    pub(crate) fn quantile_us(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e3
    }

    /// Every kind of failure with its count and the text of the first error.
    pub(crate) fn failures(&self) -> impl fmt::Display {
        let kinds = self
            .failures
            .iter()
            .map(|(kind, (messages, first))| format!("{messages} x {kind}: {first}"));
        kinds.collect::<Vec<_>>().join("; ")
    }
}
