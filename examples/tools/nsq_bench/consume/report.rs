//! The report of `consume`.

use serde::Serialize;

use super::{
    Consumed,
    options::{Mode, Options},
};
use crate::report::{print_json, rounded, summary};

/// The measurement with the options that it depends on.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Messages per second.
    rate: f64,
    cpu_us_per_message: f64,
    allocs_per_message: Option<f64>,
    /// As requested.
    messages: u64,
    mode: Mode,
    max_in_flight: usize,
    publishers: Option<usize>,
    nsqds: usize,
    /// Mean size of a body.
    size: f64,
    /// Messages that were finished.
    ok: u64,
    /// Messages that were not.
    failed: u64,
    /// Messages received, redeliveries included.
    received: u64,
    /// Time of the measured messages.
    duration_s: f64,
    /// Answers of which nsqd has not confirmed that it executed them.
    not_confirmed: u64,
}

impl Report {
    /// `allocations` are those of the whole run, if they were counted.
    pub(super) fn new(
        options: &Options,
        Consumed {
            measured,
            counters,
            drained,
        }: Consumed,
        allocations: Option<u64>,
    ) -> Self {
        let seconds = measured.duration.as_secs_f64();
        let messages = measured.messages as f64;
        let ok = counters.finished.min(options.messages);
        Self {
            rate: rounded(messages / seconds.max(1e-9)),
            cpu_us_per_message: rounded(measured.cpu_time.as_secs_f64() * 1e6 / messages.max(1.0)),
            allocs_per_message: allocations
                .map(|all| rounded(all as f64 / options.messages as f64)),
            messages: options.messages,
            mode: options.mode,
            max_in_flight: options.config.max_in_flight(),
            publishers: options
                .publishers
                .as_ref()
                .map(|publishers| publishers.count),
            nsqds: options.config.addresses().count(),
            size: rounded(measured.size),
            ok,
            failed: options.messages - ok,
            received: counters.received,
            duration_s: seconds,
            not_confirmed: drained.not_confirmed + counters.answers_failed,
        }
    }

    /// Returns whether nsqd has executed a FIN for every message.
    pub(crate) fn is_clean(&self) -> bool {
        self.failed == 0 && self.not_confirmed == 0
    }

    /// Prints the summary and, if `json` is set, the object. Failures go to standard error.
    pub(crate) fn print(&self, json: bool) {
        let Self {
            ok,
            messages,
            not_confirmed,
            ..
        } = self;
        if !self.is_clean() {
            eprintln!("nsq_bench: {ok} of {messages} finished, {not_confirmed} not confirmed");
        }
        let measured = (self.rate * self.duration_s).round() as u64;
        println!(
            "{}",
            summary(self.duration_s, self.rate, measured, self.size)
        );
        if json {
            print_json(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_nsq::consumer::{Counters, DrainReport};

    use super::*;
    use crate::{consume::work::Measured, options::Command};

    fn report(finished: u64, not_confirmed: u64) -> Report {
        let arguments = "nsq_bench consume --topic t --channel c --messages 1000 --max-in-flight 9";
        let Ok(Command::Consume(options)) = Command::parse(arguments.split(' ')) else {
            panic!("the arguments of consume");
        };
        let measured = Measured {
            messages: 989,
            duration: Duration::from_millis(500),
            cpu_time: Duration::from_micros(989),
            size: 200.0,
        };
        let mut counters = Counters::default();
        counters.finished = finished;
        counters.received = 1_009;
        let mut drained = DrainReport::default();
        drained.not_confirmed = not_confirmed;
        let consumed = Consumed {
            measured,
            counters,
            drained,
        };
        Report::new(&options, consumed, Some(2_100))
    }

    #[test]
    fn json_has_every_measured_value() {
        let object = serde_json::to_value(report(1_000, 0)).unwrap();
        for (name, value) in [
            ("rate", 1_978.0),
            ("cpu_us_per_message", 1.0),
            ("allocs_per_message", 2.1),
            ("messages", 1_000.0),
            ("max_in_flight", 9.0),
            ("nsqds", 1.0),
            ("size", 200.0),
            ("ok", 1_000.0),
            ("failed", 0.0),
            ("received", 1_009.0),
            ("duration_s", 0.5),
            ("not_confirmed", 0.0),
        ] {
            assert_eq!(object[name].as_f64(), Some(value), "{name}");
        }
        assert_eq!(object["mode"], "recipient");
    }

    #[test]
    fn run_without_a_confirmed_fin_for_each_message_is_not_clean() {
        assert!(report(1_000, 0).is_clean());
        assert!(!report(999, 0).is_clean());
        assert!(!report(1_000, 1).is_clean());
    }
}
