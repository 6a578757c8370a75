//! The command line.

use std::{path::PathBuf, time::Duration};

use actix_nsq::{ConfigError, ProducerConfig};
use clap::{CommandFactory, Parser, error::ErrorKind};

use crate::{producer_opt::producer_opt, sabotage::Sabotage, support::chaos::Faults};

/// So much more than what is to be kept up is offered, since what a fault turns into maybe counts for nothing.
const MARGIN: f64 = 1.03;

/// What must be kept up where as much is offered as goes.
const FULL_SPEED_KEEPS_UP: f64 = 10_000.0;

/// Callers where as much is offered as goes, if nothing else is said.
const FULL_SPEED_CALLERS: usize = 4_000;

/// The window of a producer that is in a hurry is no help to nsqd: so many callers at a time wait out an outage.
const PACED_CALLERS: usize = 100_000;

/// Publishes numbered messages to a real nsqd, works it over meanwhile, and holds every answer against what nsqd has.
///
/// The exit code is 0 if every answer was true and came in time, every fault met publishes in flight, and the rate was
/// kept up; 1 if not; 2 for a wrong command line; 3 if the trial itself could not be held, or hung.
///
/// The rate is kept up when at least --require messages per second were answered ok, over the time in which nsqd could
/// be served: what is left out is, for each producer, the time from each fault of nsqd's process (killed, asked to end,
/// frozen) to the first ok after nsqd is back, which includes the client's pause before it dials again. After 10 s the
/// time counts again, and the trial has failed. What a proxy does is not left out. Messages are offered in open loop, 3 %
/// more than --rate, also during outages, so what waits then must be caught up on top.
#[derive(Debug, Clone, Parser)]
#[command(name = "verifier", version)]
pub(crate) struct Options {
    /// How long to publish, such as 60, 90s or 5m
    #[arg(long, value_name = "TIME", default_value = "60", value_parser = period)]
    pub(crate) duration: Duration,

    /// Messages per second to be kept up; 0: as many as go
    #[arg(long, value_name = "N", default_value_t = 10_000.0, value_parser = rate)]
    pub(crate) rate: f64,

    /// Messages per second that will do, on a slow machine [default: --rate, or 10000 with --rate 0]
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) require: Option<f64>,

    /// Kill nsqd so often (SIGKILL), and start it again
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub(crate) kill9_every: Option<Duration>,

    /// Ask nsqd to end so often, and start it again
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub(crate) sigterm_every: Option<Duration>,

    /// Freeze nsqd so often, and let it go on
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub(crate) sigstop_every: Option<Duration>,

    /// The longest freeze. With heartbeats each second, connections are given up after 2 s
    #[arg(long, value_name = "TIME", default_value = "3", value_parser = period)]
    pub(crate) freeze: Duration,

    /// Put a bad network before nsqd, such as latency=20ms,jitter=5ms,cut-every=2s,end=rst (example chaos_proxy tells all)
    #[arg(long, value_name = "FAULT,...")]
    pub(crate) proxy: Option<Faults>,

    /// What chance depends on; without it, it is another each time
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,

    /// Producers, each with a connection of its own
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = count)]
    pub(crate) producers: usize,

    /// Topics; every producer publishes to each
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = count)]
    pub(crate) topics: usize,

    /// Bytes of a body: give or take half of it
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = count)]
    pub(crate) size: usize,

    /// How many publishes may await their answers at a time, all together [default: 100000, or 4000 with --rate 0]
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) callers: Option<usize>,

    /// The share of the messages, 0 to 1, that do not go by Publish: one half by MultiPublish, one by DeferredPublish
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = share)]
    pub(crate) batches: f64,

    /// Let the producers send again what may be stored: duplicates of such messages are told apart, and no fault
    #[arg(long)]
    pub(crate) retry_maybe_written: bool,

    /// Time to the answer of each publish; one second more, and it counts as unanswered
    #[arg(long, value_name = "TIME", default_value = "30", value_parser = period)]
    pub(crate) publish_timeout: Duration,

    /// Option of the producers that none of these flags is for, such as auto_batch=false, or NAME,VALUE; the name of a
    /// switch alone means true (may be given multiple times)
    #[arg(long, value_name = "NAME=VALUE", value_parser = producer_opt)]
    pub(crate) producer_opt: Vec<(String, String)>,

    /// nsqd [default: $NSQD_BIN, or nsqd in the PATH, or one that is built with Go]
    #[arg(long, value_name = "PATH")]
    pub(crate) nsqd: Option<PathBuf>,

    /// Write a line for each answer: <publisher>:<number> <outcome> <seconds>[ <error>], for
    /// each fault, and for each message that is wrong
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,

    /// Do something that the trial must find, and so fail
    #[arg(long, value_enum, value_name = "FAULT")]
    pub(crate) sabotage: Option<Sabotage>,
}

impl Options {
    /// Reads the command line. A wrong one ends the program, with code 2.
    pub(crate) fn from_command_line() -> Self {
        let options = Self::parse();
        let wrong = match options.config("127.0.0.1:4150") {
            Err(error) => Some(error.to_string()),
            Ok(_) => options.contradiction(),
        };
        if let Some(wrong) = wrong {
            Self::command()
                .error(ErrorKind::ValueValidation, wrong)
                .exit();
        }
        options
    }

    /// What would make a trial that proves less than it seems to, or that can only fail.
    fn contradiction(&self) -> Option<String> {
        let duration = humantime::format_duration(self.duration);
        let faults = [
            ("--kill9-every", self.kill9_every),
            ("--sigterm-every", self.sigterm_every),
            ("--sigstop-every", self.sigstop_every),
        ];
        for (flag, every) in faults {
            // Each comes a tenth earlier or later.
            if let Some(every) = every.filter(|every| every.mul_f64(1.1) > self.duration) {
                let every = humantime::format_duration(every);
                return Some(format!(
                    "{flag} {every} does not come within --duration {duration}"
                ));
            }
        }
        if self.sabotage == Some(Sabotage::Lost) && self.kill9_every.is_none() {
            return Some("--sabotage lost shows only with --kill9-every".into());
        }
        let (required, offered) = (self.required_rate(), self.offered_rate());
        offered
            .filter(|offered| *offered < required)
            .map(|offered| format!("--require {required}/s is more than is offered, {offered}/s"))
    }

    /// What a producer needs to know.
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

    /// Messages per second that are offered; `None`: as many as go.
    pub(crate) fn offered_rate(&self) -> Option<f64> {
        (self.rate > 0.0).then_some(self.rate * MARGIN)
    }

    /// Messages per second that must be answered ok.
    pub(crate) fn required_rate(&self) -> f64 {
        let full_speed = self.rate == 0.0;
        let asked = if full_speed {
            FULL_SPEED_KEEPS_UP
        } else {
            self.rate
        };
        self.require.unwrap_or(asked)
    }

    pub(crate) fn most_callers(&self) -> usize {
        let full_speed = self.rate == 0.0;
        let most = if full_speed {
            FULL_SPEED_CALLERS
        } else {
            PACED_CALLERS
        };
        self.callers.unwrap_or(most)
    }

    /// The name of a topic.
    pub(crate) fn topic(number: usize) -> String {
        format!("verifier_{number}")
    }
}

/// `60` is seconds; anything else says its unit.
fn duration(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string()),
        Err(_) => humantime::parse_duration(text).map_err(|e| e.to_string()),
    }
}

fn period(text: &str) -> Result<Duration, String> {
    let period = duration(text)?;
    let shortest = Duration::from_millis(100);
    (period >= shortest)
        .then_some(period)
        .ok_or_else(|| "must be at least 100 ms".into())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "must be a number")?;
    (0.0..=1e7)
        .contains(&rate)
        .then_some(rate)
        .ok_or_else(|| "must be 0 to 10000000".into())
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "must be a number")?;
    (0.0..=1.0)
        .contains(&share)
        .then_some(share)
        .ok_or_else(|| "must be 0 to 1".into())
}

fn count(text: &str) -> Result<usize, String> {
    let most = 1_000_000;
    let count = text.parse().map_err(|_| "must be a whole number")?;
    (1..=most)
        .contains(&count)
        .then_some(count)
        .ok_or_else(|| format!("must be 1 to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_number_is_in_seconds() {
        assert_eq!(duration("60"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(duration("-1").is_err() && duration("soon").is_err());
        assert!(period("0").is_err());
    }

    #[test]
    fn the_command_line_is_sound_and_what_it_asks_for_can_be_kept_up() {
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
    fn a_trial_that_would_prove_nothing_is_refused() {
        for (flags, why) in [
            (
                "--duration 3 --kill9-every 60",
                "--kill9-every 1m does not come within --duration 3s",
            ),
            (
                "--sabotage lost",
                "--sabotage lost shows only with --kill9-every",
            ),
            (
                "--rate 100 --require 200",
                "--require 200/s is more than is offered, 103/s",
            ),
        ] {
            let flags = ["verifier"].into_iter().chain(flags.split(' '));
            let options = Options::parse_from(flags);
            assert_eq!(options.contradiction().as_deref(), Some(why));
        }
    }
}
