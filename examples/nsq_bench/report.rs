//! The report: a sentence in the shape of NSQ's `bench_writer`, and an object for programs.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::{meter::Meter, options::Options};

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Messages answered ok, per second.
    rate: f64,
    cpu_us_per_message: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    allocs_per_message: Option<f64>,
    /// Asked for.
    messages: u64,
    warmup: u64,
    concurrency: usize,
    size: usize,
    topics: usize,
    mpub: Option<usize>,
    batching: bool,
    other_arbiter: bool,
    /// Asked for.
    rate_due: Option<f64>,
    ok: u64,
    failed: u64,
    duration_s: f64,
    #[serde(skip)]
    failures: String,
}

impl Report {
    /// What the meter has, with the processors' time and the allocations where they are known.
    pub(crate) fn new(
        options: &Options,
        meter: &Meter,
        spent: Duration,
        allocations: Option<u64>,
    ) -> Self {
        let seconds = meter.took().as_secs_f64();
        let answered = (meter.ok() + meter.failed()).max(1) as f64;
        Self {
            rate: rounded(meter.ok() as f64 / seconds.max(1e-9)),
            cpu_us_per_message: rounded(spent.as_secs_f64() * 1e6 / answered),
            p50_us: meter.quantile_us(0.5),
            p99_us: meter.quantile_us(0.99),
            p999_us: meter.quantile_us(0.999),
            max_us: meter.quantile_us(1.0),
            allocs_per_message: allocations.map(|count| rounded(count as f64 / answered)),
            messages: options.messages,
            warmup: options.warmup,
            concurrency: options.concurrency,
            size: options.size,
            topics: options.topics.len(),
            mpub: options.mpub,
            batching: options.config.auto_batch(),
            other_arbiter: options.other_arbiter,
            rate_due: options.rate,
            ok: meter.ok(),
            failed: meter.failed(),
            duration_s: seconds,
            failures: meter.failures().to_string(),
        }
    }

    /// Whether every message was published.
    pub(crate) fn is_clean(&self) -> bool {
        self.failed == 0 && self.ok == self.messages
    }

    /// Prints the sentence and, if asked for, the object; failures go to standard error.
    pub(crate) fn tell(&self, json: bool) {
        if !self.is_clean() {
            let Self {
                ok,
                failed,
                messages,
                failures,
                ..
            } = self;
            eprintln!("nsq_bench: {ok} of {messages} ok, {failed} failed: {failures}");
        }
        println!("{}", self.sentence());
        if json {
            match serde_json::to_string(self) {
                Ok(object) => println!("{object}"),
                Err(error) => eprintln!("nsq_bench: {error}"),
            }
        }
    }

    /// `duration: 1.2s - 120.000mb/s - 600000.000ops/s - 1.667us/op`
    fn sentence(&self) -> String {
        let ok = self.ok as f64;
        let duration = Duration::from_micros((self.duration_s * 1e6) as u64);
        let megabytes = self.rate * self.size as f64 / 1024.0 / 1024.0;
        let each = self.duration_s * 1e6 / ok.max(1.0);
        let rate = self.rate;
        format!("duration: {duration:?} - {megabytes:.3}mb/s - {rate:.3}ops/s - {each:.3}us/op")
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// The time that the processors have spent on this process, in user and in system mode.
pub(crate) fn process_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    // What this clock says is never negative, and its parts are whole.
    time.try_into().unwrap_or_default()
}
