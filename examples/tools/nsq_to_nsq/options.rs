//! The command line.

use actix_nsq::{
    Channel, ConfigError, ConsumerConfig, NameError, PoolConfig, Topic, pool::Strategy,
};
use clap::{CommandFactory, Parser, ValueEnum, error::ErrorKind};

use crate::{
    arguments,
    filter::{Filter, Required},
    producer_opt::producer_opt,
    source::SourceFlags,
    unique::unique,
};

/// Publishes the messages of topics to other nsqds.
///
/// A message is finished when one of the destinations has stored it, and requeued otherwise. The
/// last line on standard error counts the messages. SIGINT and SIGTERM end the program after it has
/// published what it has received.
#[derive(Debug, Parser)]
#[command(name = "nsq_to_nsq", version)]
struct Flags {
    /// NSQ topic to consume; may be repeated
    #[arg(long, required = true)]
    topic: Vec<Topic>,

    /// NSQ channel
    #[arg(long, default_value = "nsq_to_nsq")]
    channel: Channel,

    #[command(flatten)]
    source: SourceFlags,

    /// Topic to publish to [default: that of the message]
    #[arg(
        long,
        value_name = "TOPIC",
        default_value = "",
        hide_default_value = true
    )]
    destination_topic: String,

    /// Address of an nsqd to publish to; may be repeated
    #[arg(long, value_name = "HOST:PORT", required = true)]
    destination_nsqd_tcp_address: Vec<String>,

    /// How a destination is chosen
    #[arg(long, value_enum, default_value = "hostpool")]
    mode: Mode,

    /// Option of the producers, also NAME,VALUE; a boolean option alone means true; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = producer_opt)]
    producer_opt: Vec<(String, String)>,

    /// Pass only messages that are JSON objects with this field
    #[arg(
        long,
        value_name = "FIELD",
        default_value = "",
        hide_default_value = true
    )]
    require_json_field: String,

    /// Pass only messages in which the required field is this string or number
    #[arg(
        long,
        value_name = "VALUE",
        default_value = "",
        hide_default_value = true
    )]
    require_json_value: String,

    /// Field of JSON objects to keep; the others are removed; may be repeated
    #[arg(long, value_name = "FIELD")]
    whitelist_json_field: Vec<String>,

    /// Number of publishes between two lines with their times; 0: no lines
    #[arg(long, value_name = "N", default_value_t = 250)]
    status_every: u64,
}

/// How a destination is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// In runs of up to 256 messages; destinations that answer sooner get more
    Hostpool,
    /// The same in runs of one message
    RoundRobin,
    /// As hostpool
    EpsilonGreedy,
}

/// The command line.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) topics: Vec<Topic>,
    pub(crate) channel: Channel,
    pub(crate) source: ConsumerConfig,
    pub(crate) destinations: PoolConfig,
    /// The topic to publish to; `None`: that of the message.
    pub(crate) destination_topic: Option<Topic>,
    pub(crate) filter: Filter,
    pub(crate) status_every: u64,
}

impl Options {
    /// Parses the command line. Exits with code 2 if it is wrong.
    pub(crate) fn from_command_line() -> Self {
        Self::checked(arguments::parse()).unwrap_or_else(|error| error.exit())
    }

    fn checked(flags: Flags) -> Result<Self, clap::Error> {
        let invalid = |error: String| Flags::command().error(ErrorKind::ValueValidation, error);
        let source = flags.source.config("nsq_to_nsq");
        let destinations = destinations(&flags);
        let destination_topic = given(flags.destination_topic).map(Topic::new).transpose();
        let destination_topic = destination_topic
            .map_err(|error: NameError| invalid(format!("--destination-topic: {error}")))?;
        let value = given(flags.require_json_value);
        let required = match given(flags.require_json_field) {
            Some(field) => Some(Required { field, value }),
            None if value.is_some() => {
                let problem = "--require-json-value needs --require-json-field";
                return Err(invalid(problem.to_owned()));
            }
            None => None,
        };
        Ok(Self {
            topics: unique(flags.topic),
            channel: flags.channel,
            source: source.map_err(|error| invalid(error.to_string()))?,
            destinations: destinations.map_err(|error| invalid(error.to_string()))?,
            destination_topic,
            filter: Filter {
                required,
                kept: flags.whitelist_json_field,
            },
            status_every: flags.status_every,
        })
    }
}

/// An empty value means that there is none, as for NSQ's own tool.
fn given(value: String) -> Option<String> {
    Some(value).filter(|value| !value.is_empty())
}

/// The configuration of the pool.
fn destinations(flags: &Flags) -> Result<PoolConfig, ConfigError> {
    let version = env!("CARGO_PKG_VERSION");
    let builder = PoolConfig::builder(&flags.destination_nsqd_tcp_address)
        .user_agent(format!("nsq_to_nsq/{version} actix-nsq/{version}"))
        .strategy(Strategy::Spread);
    let builder = match flags.mode {
        Mode::Hostpool | Mode::EpsilonGreedy => builder,
        // A run is as long as an automatic batch may be: one message.
        Mode::RoundRobin => builder
            .auto_batch(false)
            .auto_batch_messages(2)
            .auto_batch_bytes(9),
    };
    let mut options = flags.producer_opt.iter();
    options
        .try_fold(builder, |builder, (name, value)| builder.set(name, value))?
        .build()
}
