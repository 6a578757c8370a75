//! The command line.

use actix_nsq::{Channel, ConsumerConfig, Topic};
use clap::{CommandFactory, Parser, error::ErrorKind};

use crate::{arguments, output::Format, source::SourceFlags, unique::unique};

/// Prints the messages of topics.
///
/// A message is finished when it is printed. SIGINT and SIGTERM end the program, and so does a
/// closed standard output.
#[derive(Debug, Parser)]
#[command(name = "nsq_tail", version)]
struct Flags {
    /// NSQ topic; may be repeated
    #[arg(long, required = true)]
    topic: Vec<Topic>,

    /// NSQ channel [default: an ephemeral one with a random name]
    #[arg(long, default_value = "", hide_default_value = true)]
    channel: String,

    #[command(flatten)]
    source: SourceFlags,

    /// Number of messages to print, of all topics together; 0: no limit
    #[arg(short, long = "n", value_name = "N", default_value_t = 0)]
    n: usize,

    /// Print the topic before each message, unless --json has it
    #[arg(long)]
    print_topic: bool,

    /// Print each message as a JSON object, with its id, topic, attempts, timestamp and address
    #[arg(long)]
    json: bool,
}

/// The command line.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) topics: Vec<Topic>,
    pub(crate) channel: Channel,
    pub(crate) config: ConsumerConfig,
    /// Number of messages to print.
    pub(crate) messages: usize,
    pub(crate) format: Format,
}

impl Options {
    /// Parses the command line. Exits with code 2 if it is wrong.
    pub(crate) fn from_command_line() -> Self {
        Self::checked(arguments::parse()).unwrap_or_else(|error| error.exit())
    }

    fn checked(mut flags: Flags) -> Result<Self, clap::Error> {
        let invalid = |error: String| Flags::command().error(ErrorKind::ValueValidation, error);
        let messages = match flags.n {
            0 => usize::MAX,
            n => n,
        };
        // No more messages than are printed are requested.
        flags.source.max_in_flight = flags.source.max_in_flight.min(messages);
        let config = flags.source.config("nsq_tail");
        let channel = match &*flags.channel {
            "" => format!("tail{:06}#ephemeral", fastrand::u32(..1_000_000)),
            name => name.to_owned(),
        };
        Ok(Self {
            topics: unique(flags.topic),
            channel: Channel::new(channel)
                .map_err(|error| invalid(format!("--channel: {error}")))?,
            config: config.map_err(|error| invalid(error.to_string()))?,
            messages,
            format: if flags.json {
                Format::Json
            } else if flags.print_topic {
                Format::WithTopic
            } else {
                Format::Body
            },
        })
    }
}
