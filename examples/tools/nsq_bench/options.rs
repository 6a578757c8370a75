//! The command line.

use std::{path::PathBuf, time::Duration};

use actix_nsq::{ConfigError, NameError, PoolConfig, ProducerConfig, Topic};
use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};
use humantime::parse_duration;

use crate::{arguments, bodies::Bodies, consume, producer_opt::producer_opt};

/// Suffix of a topic that nsqd keeps in memory only.
const EPHEMERAL: &str = "#ephemeral";

/// Measures this client with an nsqd.
#[derive(Debug, Parser)]
#[command(name = "nsq_bench", version)]
struct Flags {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Publishes messages, and reports the throughput, the latency and the cost per message
    Publish(Publish),
    /// Consumes messages, and reports the throughput and the cost per message
    Consume(consume::Flags),
}

/// What to measure.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is a single one")]
pub(crate) enum Command {
    Publish(Options),
    Consume(consume::Options),
}

impl Command {
    /// Parses the command line. Exits with code 2 if it is wrong.
    pub(crate) fn from_command_line() -> Self {
        Self::checked(arguments::parse()).unwrap_or_else(|error| error.exit())
    }

    fn checked(flags: Flags) -> Result<Self, clap::Error> {
        let checked = match flags.command {
            Subcommands::Publish(flags) => Options::new(flags).map(Self::Publish),
            Subcommands::Consume(flags) => consume::Options::new(flags).map(Self::Consume),
        };
        checked.map_err(|error| Flags::command().error(ErrorKind::ValueValidation, error))
    }

    /// Parses arguments; the first is the name of the program.
    #[cfg(test)]
    pub(crate) fn parse<'a>(
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, clap::Error> {
        arguments::try_parse(arguments).and_then(Self::checked)
    }
}

#[derive(Debug, clap::Args)]
struct Publish {
    /// Address of nsqd; given several times, a pool of producers publishes
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4150")]
    nsqd_tcp_address: Vec<String>,

    /// Topic to publish to; with the suffix #ephemeral nsqd keeps it in memory
    #[arg(long)]
    topic: Topic,

    /// Size of a message
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = size)]
    size: usize,

    /// File whose lines are the bodies of the messages, in turn, instead of --size
    #[arg(long, value_name = "FILE", conflicts_with = "size")]
    bodies: Option<PathBuf>,

    /// Number of callers; each publishes one message at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = concurrency)]
    concurrency: usize,

    /// Number of measured messages
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = messages)]
    messages: u64,

    /// Number of messages before the measurement [default: a tenth of --messages]
    #[arg(long, value_name = "N", value_parser = warmup)]
    warmup: Option<u64>,

    /// Send one command per message
    #[arg(long)]
    no_batching: bool,

    /// Spread the callers over K topics: T_0, T_1 and so on
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = topics)]
    topics: usize,

    /// Publish N messages per command with MultiPublish [default: one with Publish]
    #[arg(long, value_name = "N", value_parser = mpub)]
    mpub: Option<usize>,

    /// Publish with this delay, with DeferredPublish, such as 1s [default: none]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "mpub")]
    defer: Option<Duration>,

    /// Publish with the methods of ProducerHandle instead of messages to the actor
    #[arg(long)]
    handle: bool,

    /// Messages per second of all callers, at fixed intervals [default: no limit]
    #[arg(long, value_name = "R", value_parser = rate, allow_negative_numbers = true)]
    rate: Option<f64>,

    /// Topic of one more caller, whose latency is reported separately
    #[arg(long, value_name = "TOPIC")]
    beside: Option<Topic>,

    /// Run the producer on another arbiter, that is, in another thread
    #[arg(long)]
    other_arbiter: bool,

    /// Print a line of JSON after the summary
    #[arg(long)]
    json: bool,

    /// Option of the producer, also NAME,VALUE; a boolean option alone means true; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = producer_opt)]
    producer_opt: Vec<(String, String)>,
}

/// The command line of `publish`.
#[derive(Debug)]
pub(crate) struct Options {
    /// Of a single producer: for the first nsqd.
    pub(crate) config: ProducerConfig,
    /// Of a pool, if there are several nsqds.
    pub(crate) pool: Option<PoolConfig>,
    pub(crate) topics: Vec<Topic>,
    pub(crate) bodies: Bodies,
    pub(crate) concurrency: usize,
    pub(crate) messages: u64,
    pub(crate) warmup: u64,
    /// Messages per `MultiPublish`; `None`: one `Publish` per message.
    pub(crate) mpub: Option<usize>,
    /// Delay of each message.
    pub(crate) defer: Option<Duration>,
    /// Publish with the methods of `ProducerHandle`.
    pub(crate) handle: bool,
    /// Messages per second; `None`: no limit.
    pub(crate) rate: Option<f64>,
    /// Topic of one more caller.
    pub(crate) beside: Option<Topic>,
    pub(crate) other_arbiter: bool,
    pub(crate) json: bool,
}

impl Options {
    /// Parses the arguments of `publish`; the first is the name of the program.
    #[cfg(test)]
    pub(crate) fn parse<'a>(
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, clap::Error> {
        match Command::parse(arguments)? {
            Command::Publish(options) => Ok(options),
            Command::Consume(options) => panic!("consume: {options:?}"),
        }
    }

    fn new(flags: Publish) -> Result<Self, String> {
        let config = config(&flags).map_err(|error| error.to_string())?;
        let pool = pool(&flags).map_err(|error| error.to_string())?;
        let bodies = match &flags.bodies {
            Some(file) => Bodies::of_file(file)?,
            None => Bodies::of_size(flags.size),
        };
        let (size, max) = (bodies.largest(), config.max_publish_size());
        if size > max {
            return Err(format!(
                "message of {size} bytes exceeds max_publish_size ({max}); raise it with \
                 --producer-opt"
            ));
        }
        let batch = flags.mpub.unwrap_or_default();
        let (batch_size, max) = (4 + batch * (4 + size), config.max_batch_size());
        if batch_size > max {
            return Err(format!(
                "--mpub {batch} with {size} bytes is a batch of {batch_size} bytes and exceeds \
                 max_batch_size ({max}); raise it with --producer-opt"
            ));
        }
        let (topics, callers) = (flags.topics, flags.concurrency);
        if topics > callers {
            return Err(format!(
                "--topics {topics} exceeds --concurrency ({callers}): some topics would have no \
                 caller"
            ));
        }
        Ok(Self {
            topics: topic_names(&flags.topic, topics).map_err(|error| error.to_string())?,
            config,
            pool,
            bodies,
            concurrency: callers,
            messages: flags.messages,
            warmup: flags.warmup.unwrap_or(flags.messages / 10),
            mpub: flags.mpub,
            defer: flags.defer,
            handle: flags.handle,
            rate: flags.rate,
            beside: flags.beside,
            other_arbiter: flags.other_arbiter,
            json: flags.json,
        })
    }
}

/// The name of this program, as nsqd shows it.
pub(crate) fn user_agent() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("nsq_bench/{version} actix-nsq/{version}")
}

fn config(flags: &Publish) -> Result<ProducerConfig, ConfigError> {
    let address = flags.nsqd_tcp_address.first().map_or("", String::as_str);
    let builder = ProducerConfig::builder(address)
        .user_agent(user_agent())
        .auto_batch(!flags.no_batching);
    flags
        .producer_opt
        .iter()
        .try_fold(builder, |builder, (name, value)| builder.set(name, value))?
        .build()
}

fn pool(flags: &Publish) -> Result<Option<PoolConfig>, ConfigError> {
    if flags.nsqd_tcp_address.len() < 2 {
        return Ok(None);
    }
    let builder = PoolConfig::builder(&flags.nsqd_tcp_address)
        .user_agent(user_agent())
        .auto_batch(!flags.no_batching);
    flags
        .producer_opt
        .iter()
        .try_fold(builder, |builder, (name, value)| builder.set(name, value))?
        .build()
        .map(Some)
}

/// A single name, or several with a number before the suffix.
fn topic_names(topic: &Topic, count: usize) -> Result<Vec<Topic>, NameError> {
    if count == 1 {
        return Ok(vec![topic.clone()]);
    }
    let name = topic.as_str();
    let stem = name.strip_suffix(EPHEMERAL).unwrap_or(name);
    let suffix = name.strip_prefix(stem).unwrap_or_default();
    (0..count)
        .map(|number| Topic::new(format!("{stem}_{number}{suffix}")))
        .collect()
}

pub(crate) fn integer(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let number = text
        .parse()
        .map_err(|_| format!("must be a whole number from {min} to {max}"))?;
    (min..=max)
        .contains(&number)
        .then_some(number)
        .ok_or_else(|| format!("must be from {min} to {max}"))
}

pub(crate) fn count(text: &str, max: usize) -> Result<usize, String> {
    Ok(usize::try_from(integer(text, 1, max as u64)?).unwrap_or(max))
}

pub(crate) fn size(text: &str) -> Result<usize, String> {
    count(text, 1 << 30)
}

pub(crate) fn concurrency(text: &str) -> Result<usize, String> {
    count(text, 65_536)
}

fn messages(text: &str) -> Result<u64, String> {
    integer(text, 1, 1_000_000_000_000)
}

fn warmup(text: &str) -> Result<u64, String> {
    integer(text, 0, 1_000_000_000_000)
}

fn topics(text: &str) -> Result<usize, String> {
    count(text, 10_000)
}

fn mpub(text: &str) -> Result<usize, String> {
    count(text, 100_000)
}

fn rate(text: &str) -> Result<f64, String> {
    let error = || "must be a number above 0 and at most 10000000".to_owned();
    let rate: f64 = text.parse().map_err(|_| error())?;
    (rate > 0.0 && rate <= 1e7)
        .then_some(rate)
        .ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds the topic, which is required.
    fn parse(flags: &str) -> Result<Options, String> {
        let flags = flags.split_whitespace();
        let arguments = ["nsq_bench", "publish", "--topic", "t#ephemeral"];
        Options::parse(arguments.into_iter().chain(flags)).map_err(|error| error.to_string())
    }

    fn names(topic: &str, count: usize) -> Vec<String> {
        let topics = topic_names(&Topic::new(topic).unwrap(), count).unwrap();
        topics.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn defaults_are_those_of_the_help() {
        Flags::command().debug_assert();
        let options = parse("").unwrap();
        assert_eq!(options.config.address(), "127.0.0.1:4150");
        assert_eq!((options.bodies.size(), options.concurrency), (200, 64));
        assert_eq!((options.messages, options.warmup), (1_000_000, 100_000));
        assert_eq!((options.mpub, options.rate), (None, None));
        assert!(options.defer.is_none() && !options.handle);
        assert_eq!(names_of(&options), ["t#ephemeral"]);
        assert!(options.config.auto_batch() && !options.other_arbiter && !options.json);
    }

    fn names_of(options: &Options) -> Vec<&str> {
        options.topics.iter().map(Topic::as_str).collect()
    }

    #[test]
    fn every_flag_has_an_effect() {
        let options = parse(
            "--nsqd-tcp-address host:1 --size 7 --concurrency 4096 --messages 5 --warmup 0 \
             --no-batching --topics 2 --mpub 3 --rate 0.5 --other-arbiter --json \
             --producer-opt publish_window=9 --producer-opt retry_maybe_written",
        );
        let options = options.unwrap();
        assert_eq!(options.config.address(), "host:1");
        assert_eq!((options.bodies.size(), options.concurrency), (7, 4_096));
        assert_eq!((options.messages, options.warmup), (5, 0));
        assert_eq!((options.mpub, options.rate), (Some(3), Some(0.5)));
        assert!(options.other_arbiter && options.json);
        let config = options.config;
        assert!(!config.auto_batch() && config.retry_maybe_written());
        assert_eq!(config.publish_window(), 9);
        let options = parse("--defer 1s --handle").unwrap();
        assert!(options.defer == Some(Duration::from_secs(1)) && options.handle);
    }

    #[test]
    fn flags_are_spelled_as_in_go() {
        let options = parse(
            "-size=7 -concurrency 3 --mpub=2 -json -no-batching=false --other-arbiter=T \
             -producer-opt publish_window,9 -producer-opt=max_pending=8 -beside -x",
        );
        let options = options.unwrap();
        assert_eq!((options.bodies.size(), options.concurrency), (7, 3));
        assert_eq!((options.mpub, options.json), (Some(2), true));
        assert!(options.config.auto_batch() && options.other_arbiter);
        assert_eq!(options.config.publish_window(), 9);
        assert_eq!(options.config.max_pending(), 8);
        // What stands behind a flag is its value, whatever it begins with.
        assert_eq!(options.beside.unwrap().as_str(), "-x");
    }

    #[test]
    fn unknown_flag_is_named_in_full() {
        for flag in ["-foo", "-foo=1", "-sized 7", "-s", "--foo"] {
            let error = parse(flag).map(drop).unwrap_err();
            let name = flag.trim_start_matches('-').split([' ', '=']).next();
            let named = format!("'--{}'", name.unwrap());
            assert!(error.contains(&named), "{flag}: {error}");
        }
        let error = parse("-size").map(drop).unwrap_err();
        assert!(
            error.contains("a value is required for '--size <BYTES>'"),
            "{error}"
        );
    }

    #[test]
    fn producer_option_overrides_the_flag_for_it() {
        let options = parse("--no-batching --producer-opt auto_batch=true").unwrap();
        assert!(options.config.auto_batch());
    }

    #[test]
    fn tls_and_compression_are_producer_options() {
        let options = parse("--producer-opt deflate --producer-opt deflate_level=3").unwrap();
        assert!(options.config.connection().deflate() && !options.config.connection().snappy());
        assert_eq!(options.config.connection().deflate_level(), 3);
        let tls = "--producer-opt tls_v1 --producer-opt tls_root_ca_file=";
        let error = parse(&format!("{tls}/nowhere/ca.pem")).map(drop);
        assert!(error.unwrap_err().contains("/nowhere/ca.pem"));
    }

    #[test]
    fn topics_are_numbered_before_the_suffix() {
        assert_eq!(names("t", 1), ["t"]);
        assert_eq!(names("t", 3), ["t_0", "t_1", "t_2"]);
        assert_eq!(names("t#ephemeral", 2), ["t_0#ephemeral", "t_1#ephemeral"]);
        let longest = Topic::new("x".repeat(64)).unwrap();
        assert!(topic_names(&longest, 1).is_ok() && topic_names(&longest, 2).is_err());
    }

    #[test]
    fn invalid_value_is_rejected_with_the_bounds() {
        for (flags, text) in [
            (
                "--size 0",
                "'0' for '--size <BYTES>': must be from 1 to 1073741824",
            ),
            ("--size much", "must be a whole number from 1 to"),
            (
                "--size 1048577",
                "message of 1048577 bytes exceeds max_publish_size (1048576)",
            ),
            ("--concurrency 0", "must be from 1 to 65536"),
            ("--concurrency 65537", "must be from 1 to 65536"),
            ("--messages 0", "must be from 1 to 1000000000000"),
            ("--warmup -1", "'-1'"),
            ("--topics 65", "--topics 65 exceeds --concurrency (64)"),
            ("--mpub 0", "must be from 1 to 100000"),
            (
                "--mpub 30000",
                "a batch of 6120004 bytes and exceeds max_batch_size (5242880)",
            ),
            (
                "--mpub 2 --defer 1s",
                "'--mpub <N>' cannot be used with '--defer <TIME>'",
            ),
            ("--rate 0", "must be a number above 0 and at most 10000000"),
            ("--rate NaN", "must be a number above 0"),
            ("--rate -3", "must be a number above 0"),
            ("--producer-opt =1", "must be NAME=VALUE"),
            ("--producer-opt nonsense=1", "unknown option \"nonsense\""),
            (
                "--producer-opt max_pending=0",
                "option max_pending = \"0\": must be a number from 1",
            ),
            ("--nsqd-tcp-address host", "no port"),
        ] {
            let error = parse(flags).map(drop).unwrap_err();
            assert!(error.contains(text), "{flags}: {error}");
        }
        assert!(parse("--size 1048577 --producer-opt max_publish_size=1048577").is_ok());
    }
}
