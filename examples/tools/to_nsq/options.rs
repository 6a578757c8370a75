//! The command line: the flags of NSQ's own tool, spelled as in Go (`-topic`) or with two dashes.

use std::path::PathBuf;

use actix_nsq::{ConfigError, Topic};
use clap::{CommandFactory, Parser, error::ErrorKind};

use crate::{
    arguments,
    destination::Destination,
    input::Format,
    policy::{OnFailure, OnInvalid, Policy},
    producer_opt::producer_opt,
    unique::unique,
};

/// The longest `publish_timeout`, for records that wait for nsqd. After it they are published
/// again.
const NO_TIMEOUT: &str = "24h";

/// Publishes each line of the standard input to nsqd.
///
/// The delimiter is not part of a message; the last record needs none. Empty records cannot be
/// published. The last line on standard error counts the publishes that are ok, not written, and
/// maybe written; the exit code is 0 only if all are ok. On SIGINT and SIGTERM it stops reading,
/// and publishes what it has read.
#[derive(Debug, Parser)]
#[command(name = "to_nsq", version)]
struct Flags {
    /// NSQ topic to publish to
    #[arg(long)]
    topic: Topic,

    /// Address of nsqd; repeat it to publish every record to each
    #[arg(long, value_name = "HOST:PORT", required = true)]
    nsqd_tcp_address: Vec<String>,

    /// Publish every record to one of the addresses, to one that is up, in no order
    #[arg(long)]
    pool: bool,

    /// Byte that separates records: a single character, or \n, \r, \t, \0, \\, \xHH
    #[arg(
        long,
        value_name = "BYTE",
        default_value = "\\n",
        value_parser = delimiter
    )]
    delimiter: u8,

    /// Maximum number of messages per second; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    rate: i64,

    /// What to do about a record that nsqd cannot take at the moment
    #[arg(long, value_enum, value_name = "ACTION", default_value = "retry")]
    on_failure: OnFailure,

    /// What to do about a record that can never succeed: it is empty or too large
    #[arg(long, value_enum, value_name = "ACTION", default_value = "skip")]
    on_invalid: OnInvalid,

    /// Option of the producer or the pool, also NAME,VALUE; a boolean option alone means true; may
    /// be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = producer_opt)]
    producer_opt: Vec<(String, String)>,

    /// Write one line per record and address (with --pool, per record): the number of the record
    /// (from 0), then ok, not_written, maybe_written or maybe_partial, then the error (with several
    /// addresses, after the address)
    #[arg(long, value_name = "FILE")]
    outcome_log: Option<PathBuf>,
}

/// The command line.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) topic: Topic,
    /// One per address, at least one, or the pool.
    pub(crate) destinations: Vec<Destination>,
    pub(crate) policy: Policy,
    pub(crate) format: Format,
    /// Records per second; `None`: no limit.
    pub(crate) rate: Option<u32>,
    pub(crate) outcome_log: Option<PathBuf>,
}

impl Options {
    /// Parses the command line. Exits with code 2 if it is wrong.
    pub(crate) fn from_command_line() -> Self {
        let flags: Flags = arguments::parse();
        let destinations = destinations(&flags).unwrap_or_else(|error| {
            Flags::command()
                .error(ErrorKind::ValueValidation, error)
                .exit()
        });
        let limits = destinations.first().map(Destination::limits);
        let max_size = limits.map_or(0, |limits| limits.max_publish_size());
        let at_least_once = limits.is_some_and(|limits| limits.retry_maybe_written());
        Self {
            policy: Policy {
                on_failure: flags.on_failure,
                on_invalid: flags.on_invalid,
                at_least_once,
            },
            format: Format {
                delimiter: flags.delimiter,
                max_size,
                on_invalid: flags.on_invalid,
            },
            topic: flags.topic,
            destinations,
            rate: (flags.rate > 0).then(|| flags.rate.try_into().unwrap_or(u32::MAX)),
            outcome_log: flags.outcome_log,
        }
    }
}

fn delimiter(text: &str) -> Result<u8, String> {
    let escaped = match text.as_bytes() {
        [byte] => return Ok(*byte),
        [b'\\', escape] => match escape {
            b'n' => Some(b'\n'),
            b'r' => Some(b'\r'),
            b't' => Some(b'\t'),
            b'0' => Some(b'\0'),
            b'\\' => Some(b'\\'),
            _ => None,
        },
        [b'\\', b'x', _, _] => text
            .get(2..)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok()),
        _ => None,
    };
    escaped.ok_or_else(|| "must be a single byte, or one of \\n, \\r, \\t, \\0, \\\\, \\xHH".into())
}

/// One destination per address, without duplicates, or the pool of them.
fn destinations(flags: &Flags) -> Result<Vec<Destination>, ConfigError> {
    let addresses = unique(flags.nsqd_tcp_address.iter().map(String::as_str));
    let build = |options: &[_]| match flags.pool {
        true => Destination::pool(&addresses, options).map(|pool| vec![pool]),
        false => {
            let nsqds = addresses.iter();
            nsqds.map(|nsqd| Destination::nsqd(nsqd, options)).collect()
        }
    };
    let version = env!("CARGO_PKG_VERSION");
    let option = |name: &str, value: String| (name.to_owned(), value);
    let user_agent = format!("to_nsq/{version} actix-nsq/{version}");
    let mut options = vec![option("user_agent", user_agent)];
    if flags.on_failure == OnFailure::Stop {
        // As NSQ's own tool, which ends if it cannot connect.
        options.push(option("wait_for_connection", "never".to_owned()));
    }
    options.extend_from_slice(&flags.producer_opt);
    let destinations: Vec<_> = build(&options)?;
    if let Some(destination) = destinations.first()
        && flags.on_failure == OnFailure::Retry
    {
        // Records wait in the producer, which keeps their order, as long as nsqd is away.
        let ack_timeout = destination.limits().ack_timeout().as_nanos();
        options.push(option("ack_timeout", format!("{ack_timeout}ns")));
        options.push(option("publish_timeout", NO_TIMEOUT.to_owned()));
        return build(&options);
    }
    Ok(destinations)
}
