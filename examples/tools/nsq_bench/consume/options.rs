//! The command line of `consume`.

use std::time::Duration;

use actix_nsq::{Channel, ConfigError, ConsumerConfig, ProducerConfig, Topic};
use clap::ValueEnum;
use humantime::parse_duration;

use crate::{
    consumer_opt::consumer_opt,
    options::{concurrency, count, integer, size, user_agent},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// Address of nsqd; may be repeated
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4150")]
    nsqd_tcp_address: Vec<String>,

    /// Topic to consume
    #[arg(long)]
    topic: Topic,

    /// Channel to consume
    #[arg(long)]
    channel: Channel,

    /// Maximum number of messages in flight
    #[arg(long, value_name = "N", default_value_t = 2_500, value_parser = max_in_flight)]
    max_in_flight: usize,

    /// Number of messages to finish; the first 99 percent of them are measured
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = messages)]
    messages: u64,

    /// Handler of the messages
    #[arg(long, value_enum, default_value = "recipient")]
    mode: Mode,

    /// Time that a handler takes for a message, in the mode closure, such as 20ms [default: none]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    handler_time: Option<Duration>,

    /// Number of tasks that publish the messages, to the first nsqd [default: none]
    #[arg(long, value_name = "N", value_parser = concurrency)]
    publishers: Option<usize>,

    /// Size of a message of --publishers
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = size)]
    #[arg(requires = "publishers")]
    size: usize,

    /// Count the allocations, which takes time
    #[arg(long)]
    count_allocations: bool,

    /// Time without a message after which the run ends and fails
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    idle_timeout: Duration,

    /// Print a line of JSON after the summary
    #[arg(long)]
    json: bool,

    /// Option of the consumer, also NAME,VALUE; a boolean option alone means true; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = consumer_opt)]
    consumer_opt: Vec<(String, String)>,
}

/// What handles the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// An actor, one message at a time
    Recipient,
    /// An actor, the messages of a read at a time
    Batch,
    /// An async closure
    Closure,
    /// A stream
    Stream,
}

/// The tasks that publish the messages.
#[derive(Debug)]
pub(super) struct Publishers {
    pub(super) config: ProducerConfig,
    pub(super) count: usize,
    /// Size of a message.
    pub(super) size: usize,
}

/// The command line of `consume`.
#[derive(Debug)]
pub(crate) struct Options {
    pub(super) config: ConsumerConfig,
    pub(super) topic: Topic,
    pub(super) channel: Channel,
    pub(super) messages: u64,
    pub(super) mode: Mode,
    pub(super) handler_time: Option<Duration>,
    pub(super) publishers: Option<Publishers>,
    pub(super) count_allocations: bool,
    pub(super) idle_timeout: Duration,
    pub(crate) json: bool,
}

impl Options {
    pub(crate) fn new(flags: Flags) -> Result<Self, String> {
        if flags.handler_time.is_some() && flags.mode != Mode::Closure {
            return Err("--handler-time requires --mode closure".into());
        }
        Ok(Self {
            config: config(&flags).map_err(|error| error.to_string())?,
            publishers: publishers(&flags).map_err(|error| error.to_string())?,
            topic: flags.topic,
            channel: flags.channel,
            messages: flags.messages,
            mode: flags.mode,
            handler_time: flags.handler_time,
            count_allocations: flags.count_allocations,
            idle_timeout: flags.idle_timeout,
            json: flags.json,
        })
    }
}

fn config(flags: &Flags) -> Result<ConsumerConfig, ConfigError> {
    let builder = ConsumerConfig::builder("")
        .addresses(&flags.nsqd_tcp_address)
        .user_agent(user_agent())
        .max_in_flight(flags.max_in_flight);
    flags
        .consumer_opt
        .iter()
        .try_fold(builder, |builder, (name, value)| builder.set(name, value))?
        .build()
}

fn publishers(flags: &Flags) -> Result<Option<Publishers>, ConfigError> {
    let Some(count) = flags.publishers else {
        return Ok(None);
    };
    let address = flags.nsqd_tcp_address.first().map_or("", String::as_str);
    let config = ProducerConfig::builder(address).user_agent(user_agent());
    Ok(Some(Publishers {
        config: config.build()?,
        count,
        size: flags.size,
    }))
}

fn max_in_flight(text: &str) -> Result<usize, String> {
    count(text, 1_000_000)
}

/// A duration is measured between two messages.
fn messages(text: &str) -> Result<u64, String> {
    integer(text, 2, 1_000_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Command;

    /// Adds the topic and the channel, which are required.
    fn parse(flags: &str) -> Result<Options, String> {
        let arguments = ["nsq_bench", "consume", "--topic", "t", "--channel", "c"];
        let arguments = arguments.into_iter().chain(flags.split_whitespace());
        match Command::parse(arguments) {
            Ok(Command::Consume(options)) => Ok(options),
            Ok(Command::Publish(options)) => panic!("publish: {options:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn defaults_are_those_of_the_help() {
        let options = parse("").unwrap();
        assert_eq!(
            Vec::from_iter(options.config.addresses()),
            ["127.0.0.1:4150"]
        );
        assert_eq!(options.config.max_in_flight(), 2_500);
        assert_eq!(
            (options.topic.as_str(), options.channel.as_str()),
            ("t", "c")
        );
        assert_eq!(
            (options.messages, options.mode),
            (1_000_000, Mode::Recipient)
        );
        assert_eq!(options.idle_timeout, Duration::from_secs(10));
        assert!(options.handler_time.is_none() && options.publishers.is_none());
        assert!(!options.count_allocations && !options.json);
    }

    #[test]
    fn every_flag_has_an_effect() {
        let options = parse(
            "--nsqd-tcp-address host:1 -nsqd-tcp-address=host:2 --max-in-flight 40 --messages 7 \
             --mode closure --handler-time 20ms --idle-timeout 3s --json \
             --consumer-opt concurrency=9 -consumer-opt auto_touch",
        );
        let options = options.unwrap();
        assert_eq!(
            Vec::from_iter(options.config.addresses()),
            ["host:1", "host:2"]
        );
        assert_eq!(options.config.max_in_flight(), 40);
        assert_eq!((options.messages, options.mode), (7, Mode::Closure));
        assert_eq!(options.handler_time, Some(Duration::from_millis(20)));
        assert_eq!(options.idle_timeout, Duration::from_secs(3));
        assert!(options.config.auto_touch() && options.json);
        assert_eq!(options.config.concurrency(), 9);
        let options = parse("--publishers 64 --size 33 --count-allocations").unwrap();
        assert!(options.count_allocations);
        let publishers = options.publishers.unwrap();
        assert_eq!((publishers.count, publishers.size), (64, 33));
        for (name, mode) in [
            ("recipient", Mode::Recipient),
            ("batch", Mode::Batch),
            ("stream", Mode::Stream),
        ] {
            assert_eq!(parse(&format!("--mode {name}")).unwrap().mode, mode);
        }
    }

    #[test]
    fn invalid_value_is_rejected_with_the_bounds() {
        for (flags, text) in [
            ("--max-in-flight 0", "must be from 1 to 1000000"),
            ("--messages 1", "must be from 2 to 1000000000000"),
            (
                "--mode actor",
                "[possible values: recipient, batch, closure, stream]",
            ),
            (
                "--handler-time 1ms",
                "--handler-time requires --mode closure",
            ),
            ("--publishers 0", "must be from 1 to 65536"),
            ("--consumer-opt =1", "must be NAME=VALUE"),
            ("--consumer-opt concurrency", "must be concurrency=VALUE"),
            ("--consumer-opt nonsense=1", "unknown option \"nonsense\""),
            ("--nsqd-tcp-address host", "no port"),
        ] {
            let error = parse(flags).map(drop).unwrap_err();
            assert!(error.contains(text), "{flags}: {error}");
        }
    }
}
