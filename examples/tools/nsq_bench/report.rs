//! The report: a summary in the format of NSQ's `bench_writer`, and a JSON object.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::{measurement::Measurement, options::Options};

/// Measurement of the caller of `--beside`.
#[derive(Debug, Serialize)]
struct Beside {
    beside_ok: u64,
    beside_failed: u64,
    beside_p50_us: f64,
    beside_p99_us: f64,
    beside_p999_us: f64,
}

impl Beside {
    fn new(measurement: &Measurement) -> Self {
        Self {
            beside_ok: measurement.ok(),
            beside_failed: measurement.failed(),
            beside_p50_us: measurement.quantile_us(0.5),
            beside_p99_us: measurement.quantile_us(0.99),
            beside_p999_us: measurement.quantile_us(0.999),
        }
    }
}

/// The measurement with the options that it depends on.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Messages per second that are ok.
    rate: f64,
    cpu_us_per_message: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    allocs_per_message: Option<f64>,
    /// As requested.
    messages: u64,
    warmup: u64,
    concurrency: usize,
    size: usize,
    topics: usize,
    mpub: Option<usize>,
    /// Delay of each message.
    defer_s: Option<f64>,
    handle: bool,
    batching: bool,
    other_arbiter: bool,
    /// As requested.
    rate_due: Option<f64>,
    ok: u64,
    failed: u64,
    duration_s: f64,
    /// PUB and MPUB commands that were sent to nsqd.
    commands: u64,
    messages_per_command: f64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    beside: Option<Beside>,
    #[serde(skip)]
    failures: String,
}

impl Report {
    /// Combines the measurements with the CPU time of the run, and with the allocations if they
    /// were counted.
    pub(crate) fn new(
        options: &Options,
        (measurement, beside): (&Measurement, &Measurement),
        cpu_time: Duration,
        allocs_per_message: Option<f64>,
        commands: u64,
    ) -> Self {
        let seconds = measurement.duration().as_secs_f64();
        let messages = (measurement.ok() + measurement.failed()).max(1) as f64;
        Self {
            rate: rounded(measurement.ok() as f64 / seconds.max(1e-9)),
            cpu_us_per_message: rounded(cpu_time.as_secs_f64() * 1e6 / messages),
            p50_us: measurement.quantile_us(0.5),
            p99_us: measurement.quantile_us(0.99),
            p999_us: measurement.quantile_us(0.999),
            max_us: measurement.quantile_us(1.0),
            allocs_per_message: allocs_per_message.map(rounded),
            messages: options.messages,
            warmup: options.warmup,
            concurrency: options.concurrency,
            size: options.bodies.size(),
            topics: options.topics.len(),
            mpub: options.mpub,
            defer_s: options.defer.map(|delay| delay.as_secs_f64()),
            handle: options.handle,
            batching: options.config.auto_batch(),
            other_arbiter: options.other_arbiter,
            rate_due: options.rate,
            ok: measurement.ok(),
            failed: measurement.failed(),
            duration_s: seconds,
            commands,
            messages_per_command: rounded(messages / commands.max(1) as f64),
            beside: options.beside.as_ref().map(|_| Beside::new(beside)),
            failures: measurement.failures().to_string(),
        }
    }

    /// Returns whether every message was published.
    pub(crate) fn is_clean(&self) -> bool {
        let beside = self
            .beside
            .as_ref()
            .map_or(0, |beside| beside.beside_failed);
        self.failed == 0 && self.ok == self.messages && beside == 0
    }

    /// Prints the summary and, if `json` is set, the object. Failures go to standard error.
    pub(crate) fn print(&self, json: bool) {
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
        println!("{}", self.summary());
        if let Some(beside) = &self.beside {
            println!(
                "beside: p50 {}us, p99 {}us of {} messages",
                beside.beside_p50_us, beside.beside_p99_us, beside.beside_ok
            );
        }
        if json {
            print_json(self);
        }
    }

    fn summary(&self) -> String {
        summary(self.duration_s, self.rate, self.ok, self.size as f64)
    }
}

/// `duration: 1.2s - 120.000mb/s - 600000.000ops/s - 1.667us/op`
pub(crate) fn summary(seconds: f64, rate: f64, messages: u64, size: f64) -> String {
    let duration = Duration::from_micros((seconds * 1e6) as u64);
    let megabytes = rate * size / 1024.0 / 1024.0;
    let each = seconds * 1e6 / (messages as f64).max(1.0);
    format!("duration: {duration:?} - {megabytes:.3}mb/s - {rate:.3}ops/s - {each:.3}us/op")
}

/// Prints the object of `--json`.
pub(crate) fn print_json(report: &impl Serialize) {
    match serde_json::to_string(report) {
        Ok(object) => println!("{object}"),
        Err(error) => eprintln!("nsq_bench: {error}"),
    }
}

pub(crate) fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// CPU time of this process, in user and system mode.
pub(crate) fn process_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    // Cannot fail: the time is not negative.
    time.try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use actix_nsq::{PublishError, Topic};

    use super::*;

    fn options(flags: &str) -> Options {
        let arguments = ["nsq_bench", "publish", "--topic", "t"];
        Options::parse(arguments.into_iter().chain(flags.split_whitespace())).unwrap()
    }

    /// Commands of 100 messages with latencies of 1, 2, 3... ms.
    fn measurement(commands: u64, duration: Duration) -> Measurement {
        let mut measurement = Measurement::new().unwrap();
        for number in 1..=commands {
            measurement.record(100, Duration::from_millis(number), Ok(()));
        }
        measurement.finish(duration);
        measurement
    }

    fn report(failed: bool) -> Report {
        let mut measurement = measurement(1_000, Duration::from_millis(250));
        if failed {
            measurement.record(100, Duration::from_secs(1), Err(an_error()));
        }
        let options =
            options("--messages 100000 --mpub 100 --size 1024 --concurrency 2 --rate 1e6");
        Report::new(
            &options,
            (&measurement, &Measurement::new().unwrap()),
            Duration::from_millis(50),
            Some(3.0),
            1_000,
        )
    }

    fn an_error() -> PublishError {
        Topic::new("not a name").unwrap_err().into()
    }

    #[test]
    fn summary_has_the_format_of_bench_writer() {
        let summary = report(false).summary();
        assert_eq!(
            summary,
            "duration: 250ms - 390.625mb/s - 400000.000ops/s - 2.500us/op"
        );
    }

    #[test]
    fn json_has_every_measured_value() {
        let object = serde_json::to_value(report(false)).unwrap();
        for (name, value) in [
            ("rate", 400_000.0),
            ("cpu_us_per_message", 0.5),
            ("allocs_per_message", 3.0),
            ("messages", 100_000.0),
            ("ok", 100_000.0),
            ("failed", 0.0),
            ("concurrency", 2.0),
            ("size", 1_024.0),
            ("mpub", 100.0),
            ("messages_per_command", 100.0),
            ("rate_due", 1e6),
            ("duration_s", 0.25),
        ] {
            assert_eq!(object[name].as_f64(), Some(value), "{name}");
        }
        // The histogram keeps three digits.
        for (name, ms) in [("p50_us", 500.0), ("p99_us", 990.0), ("p999_us", 999.0)] {
            let time = object[name].as_f64().unwrap();
            assert!((time / 1e3 / ms - 1.0).abs() < 0.002, "{name}: {time}");
        }
    }

    #[test]
    fn run_with_a_failure_is_not_clean_and_reports_its_kind() {
        assert!(report(false).is_clean());
        let report = report(true);
        assert!(!report.is_clean());
        assert_eq!((report.ok, report.failed), (100_000, 100));
        assert!(
            report
                .failures
                .starts_with("100 x InvalidName, NotWritten: topic name"),
            "{}",
            report.failures
        );
    }

    #[test]
    fn aborted_run_is_not_clean() {
        let measurement = measurement(999, Duration::from_secs(1));
        let options = options("--messages 100000");
        let measurements = (&measurement, &measurement);
        let report = Report::new(&options, measurements, Duration::ZERO, None, 999);
        assert!(!report.is_clean());
        assert_eq!(report.allocs_per_message, None);
    }

    #[test]
    fn cpu_time_advances_during_work() {
        let mut measurement = Measurement::new().unwrap();
        let (before, started) = (process_time(), Instant::now());
        while process_time() - before < Duration::from_millis(2) {
            measurement.record(1, Duration::ZERO, Ok(()));
            assert!(started.elapsed() < Duration::from_secs(20));
        }
    }
}
