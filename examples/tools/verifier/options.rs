//! The command line.

use std::{path::PathBuf, time::Duration};

use actix_nsq::{ConfigError, ConsumerConfig, ConsumerConfigBuilder, ProducerConfig};
use clap::{CommandFactory, Parser, error::ErrorKind};

use crate::{arguments, producer_opt::producer_opt, support::chaos::Faults, violation::Violation};

/// Offered rate in relation to `--rate`: messages that a fault makes ambiguous do not count.
const MARGIN: f64 = 1.03;

/// Required rate with `--rate 0`.
const FULL_SPEED_REQUIRED: f64 = 10_000.0;

/// Default of `--callers` with `--rate 0`.
const FULL_SPEED_CALLERS: usize = 4_000;

/// Default of `--callers` with a rate; enough for an outage.
const PACED_CALLERS: usize = 100_000;

/// Publishes numbered messages to a real nsqd, injects faults, and compares every result with the
/// messages that nsqd stored.
///
/// Exit codes: 0 if every result is true and in time, every fault hit publishes in flight, and the
/// rate was sustained; 4 if only the rate was not; 1 if a result is wrong or late, or a fault
/// proves nothing; 2 for a wrong command line; 3 if there is no result, for example because nsqd
/// does not start.
///
/// The rate is sustained if at least --require messages per second are ok, without the outages. An
/// outage of a producer lasts from a fault of nsqd's process until the first ok after nsqd is up
/// again, including the reconnect delay. After 10 s the outage ends and the run has failed. The
/// effects of a proxy are not outages. The load is an open loop that offers 3 % more than --rate,
/// also during outages, so the backlog has to be caught up.
#[derive(Debug, Clone, Parser)]
#[command(name = "verifier", version)]
pub(crate) struct Options {
    /// Time to publish, such as 60 (seconds), 90s or 5m
    #[arg(long, value_name = "TIME", default_value = "60", value_parser = period)]
    pub(crate) duration: Duration,

    /// Messages per second; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 10_000.0, value_parser = rate)]
    pub(crate) rate: f64,

    /// Required messages per second, for slow machines [default: --rate, or 10000 with --rate 0]
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) require: Option<f64>,

    /// Interval at which nsqd is killed (SIGKILL) and restarted
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub(crate) kill9_every: Option<Duration>,

    /// Interval at which nsqd is terminated (SIGTERM) and restarted
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub(crate) sigterm_every: Option<Duration>,

    /// Interval at which nsqd is frozen (SIGSTOP) and continued
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub(crate) sigstop_every: Option<Duration>,

    /// Maximum time of a freeze; with heartbeats every second a connection times out after 2 s
    #[arg(long, value_name = "TIME", default_value = "3", value_parser = period)]
    pub(crate) freeze: Duration,

    /// Put a faulty network before nsqd, such as latency=20ms,cut-every=2s,end=rst (see chaos_proxy
    /// --help)
    #[arg(long, value_name = "FAULT,...")]
    pub(crate) proxy: Option<Faults>,

    /// Seed of the random numbers [default: random]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,

    /// Number of producers
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = count)]
    pub(crate) producers: usize,

    /// Number of topics; every producer publishes to each
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = count)]
    pub(crate) topics: usize,

    /// Mean size of a body; sizes vary by half of it
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = count)]
    pub(crate) size: usize,

    /// Maximum number of publishes without a result [default: 100000, or 4000 with --rate 0]
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) callers: Option<usize>,

    /// Share of the messages, 0 to 1, that are published half with MultiPublish and half with
    /// DeferredPublish
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = share)]
    pub(crate) batches: f64,

    /// Consume the messages meanwhile with a consumer for each topic. A message may be lost by a
    /// kill only if no consumer had received it whole. All bytes are kept in memory
    #[arg(long)]
    pub(crate) consume: bool,

    /// Maximum number of unanswered messages of each consumer
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = count)]
    pub(crate) max_in_flight: usize,

    /// Let the producers retry ambiguous publishes; duplicates of these messages are allowed
    #[arg(long)]
    pub(crate) retry_maybe_written: bool,

    /// Timeout of a publish; without a result one second later it counts as unanswered
    #[arg(long, value_name = "TIME", default_value = "30", value_parser = period)]
    pub(crate) publish_timeout: Duration,

    /// Option of the producers, such as auto_batch=false, also NAME,VALUE; a boolean option alone
    /// means true; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = producer_opt)]
    pub(crate) producer_opt: Vec<(String, String)>,

    /// The program nsqd [default: $NSQD_BIN, or nsqd in the PATH, or a build with Go]
    #[arg(long, value_name = "PATH")]
    pub(crate) nsqd: Option<PathBuf>,

    /// Write a line for each result (<publisher>:<number> <outcome> <seconds>[ <error>]), each
    /// fault, and each violation
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,

    /// Cause a violation on purpose; the run must report it and fail
    #[arg(long, value_enum, value_name = "FAULT")]
    pub(crate) sabotage: Option<Violation>,
}

impl Options {
    /// Parses the command line. Exits with code 2 if it is wrong.
    pub(crate) fn from_command_line() -> Self {
        let options: Self = arguments::parse();
        let error = match options.config("127.0.0.1:4150") {
            Err(error) => Some(error.to_string()),
            Ok(_) => options.contradiction(),
        };
        if let Some(error) = error {
            Self::command()
                .error(ErrorKind::ValueValidation, error)
                .exit();
        }
        options
    }

    /// Finds a combination of options with which a run would prove nothing or always fail.
    fn contradiction(&self) -> Option<String> {
        let duration = humantime::format_duration(self.duration);
        let faults = [
            ("--kill9-every", self.kill9_every),
            ("--sigterm-every", self.sigterm_every),
            ("--sigstop-every", self.sigstop_every),
        ];
        for (flag, every) in faults {
            // Intervals vary by a tenth.
            if let Some(every) = every.filter(|every| every.mul_f64(1.1) > self.duration) {
                let every = humantime::format_duration(every);
                return Some(format!(
                    "{flag} {every} does not occur within --duration {duration}"
                ));
            }
        }
        if self.sabotage == Some(Violation::Lost) && self.kill9_every.is_none() {
            return Some("--sabotage lost requires --kill9-every".into());
        }
        let is_unhandled = self.sabotage == Some(Violation::Unhandled);
        if self.sabotage.is_some() && is_unhandled != self.consume {
            return Some("--consume and --sabotage unhandled require each other".into());
        }
        let (required, offered) = (self.required_rate(), self.offered_rate());
        offered
            .filter(|offered| *offered < required)
            .map(|offered| format!("--require {required} exceeds the offered rate ({offered})"))
    }

    /// The configuration of the consumers. What a lost connection had in flight comes again soon.
    pub(crate) fn consumer_config(&self, address: &str) -> ConsumerConfigBuilder {
        ConsumerConfig::builder(address)
            .heartbeat_interval(Duration::from_secs(1))
            .msg_timeout(Duration::from_secs(2))
            .max_in_flight(self.max_in_flight)
            .client_id("verifier")
    }

    pub(crate) fn config(&self, address: &str) -> Result<ProducerConfig, ConfigError> {
        let mut options = self.producer_opt.iter();
        options
            .try_fold(ProducerConfig::builder(address), |config, (name, value)| {
                config.set(name, value)
            })?
            .heartbeat_interval(Duration::from_secs(1))
            .publish_timeout(self.publish_timeout)
            .retry_maybe_written(self.retry_maybe_written)
            .client_id("verifier")
            .build()
    }

    /// Messages per second that are published; `None`: no limit.
    pub(crate) fn offered_rate(&self) -> Option<f64> {
        (self.rate > 0.0).then_some(self.rate * MARGIN)
    }

    /// Messages per second that must be ok.
    pub(crate) fn required_rate(&self) -> f64 {
        let default = if self.rate == 0.0 {
            FULL_SPEED_REQUIRED
        } else {
            self.rate
        };
        self.require.unwrap_or(default)
    }

    pub(crate) fn max_callers(&self) -> usize {
        let default = if self.rate == 0.0 {
            FULL_SPEED_CALLERS
        } else {
            PACED_CALLERS
        };
        self.callers.unwrap_or(default)
    }

    /// The name of a topic.
    pub(crate) fn topic(number: usize) -> String {
        format!("verifier_{number}")
    }
}

/// Parses a duration; a plain number is in seconds.
fn duration(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string()),
        Err(_) => humantime::parse_duration(text).map_err(|e| e.to_string()),
    }
}

fn period(text: &str) -> Result<Duration, String> {
    let period = duration(text)?;
    let min = Duration::from_millis(100);
    (period >= min)
        .then_some(period)
        .ok_or_else(|| "must be at least 100 ms".into())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "must be a number")?;
    (0.0..=1e7)
        .contains(&rate)
        .then_some(rate)
        .ok_or_else(|| "must be from 0 to 10000000".into())
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "must be a number")?;
    (0.0..=1.0)
        .contains(&share)
        .then_some(share)
        .ok_or_else(|| "must be from 0 to 1".into())
}

fn count(text: &str) -> Result<usize, String> {
    let max = 1_000_000;
    let count = text.parse().map_err(|_| "must be a whole number")?;
    (1..=max)
        .contains(&count)
        .then_some(count)
        .ok_or_else(|| format!("must be from 1 to {max}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_number_is_in_seconds() {
        assert_eq!(duration("60"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(duration("-1").is_err() && duration("soon").is_err());
        assert!(period("0").is_err());
    }

    #[test]
    fn required_rate_is_below_the_offered_rate() {
        Options::command().debug_assert();
        let options = Options::parse_from(["verifier"]);
        assert_eq!(options.required_rate(), 10_000.0);
        assert!(options.offered_rate() > Some(options.required_rate()));
        let options = Options::parse_from(["verifier", "--rate", "0", "--require", "500"]);
        assert_eq!(
            (options.offered_rate(), options.required_rate()),
            (None, 500.0)
        );
        assert_eq!(options.contradiction(), None);
    }

    #[test]
    fn run_that_would_prove_nothing_is_rejected() {
        for (flags, reason) in [
            (
                "--duration 3 --kill9-every 60",
                "--kill9-every 1m does not occur within --duration 3s",
            ),
            ("--sabotage lost", "--sabotage lost requires --kill9-every"),
            (
                "--sabotage unhandled",
                "--consume and --sabotage unhandled require each other",
            ),
            (
                "--rate 100 --require 200",
                "--require 200 exceeds the offered rate (103)",
            ),
        ] {
            let flags = ["verifier"].into_iter().chain(flags.split(' '));
            let options = Options::parse_from(flags);
            assert_eq!(options.contradiction().as_deref(), Some(reason));
        }
    }
}
