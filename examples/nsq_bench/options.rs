//! The command line.

use actix_nsq::{Config, Error, NameError, Topic};
use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};

/// What marks a topic that nsqd keeps in memory only. It must stand at the end of a name.
const EPHEMERAL: &str = "#ephemeral";

/// Measures this client against an nsqd.
#[derive(Debug, Parser)]
#[command(name = "nsq_bench", version)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Publishes messages, each awaited, and tells how many per second went and what each cost
    Publish(Publish),
}

#[derive(Debug, clap::Args)]
struct Publish {
    /// nsqd's TCP address
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4150")]
    nsqd_tcp_address: String,

    /// Topic to publish to; with #ephemeral at its end nsqd keeps it in memory
    #[arg(long)]
    topic: Topic,

    /// Bytes of each message
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = size)]
    size: usize,

    /// Callers, each of which awaits the answer to its message before it publishes the next
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = concurrency)]
    concurrency: usize,

    /// Messages of the timed part
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = messages)]
    messages: u64,

    /// Messages before the timed part [default: a tenth of --messages]
    #[arg(long, value_name = "N", value_parser = warmup)]
    warmup: Option<u64>,

    /// Send each message by a command of its own
    #[arg(long)]
    no_batching: bool,

    /// Topics, over which the callers are spread: T_0, T_1 and so on
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = topics)]
    topics: usize,

    /// Publish so many messages with each command, by MultiPublish [default: one, by Publish]
    #[arg(long, value_name = "N", value_parser = mpub)]
    mpub: Option<usize>,

    /// Messages per second, by a schedule, over all callers [default: as many as go]
    #[arg(long, value_name = "R", value_parser = rate, allow_negative_numbers = true)]
    rate: Option<f64>,

    /// Run the producer on an arbiter, so a thread, of its own
    #[arg(long)]
    other_arbiter: bool,

    /// Print one line of JSON after the sentence
    #[arg(long)]
    json: bool,

    /// Option of the producer; a name alone means true (may be given multiple times)
    #[arg(long, value_name = "NAME=VALUE", value_parser = producer_opt)]
    producer_opt: Vec<(String, String)>,
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) config: Config,
    pub(crate) topics: Vec<Topic>,
    pub(crate) size: usize,
    pub(crate) concurrency: usize,
    pub(crate) messages: u64,
    pub(crate) warmup: u64,
    /// Messages of each MultiPublish; `None`: a Publish for each.
    pub(crate) mpub: Option<usize>,
    /// Messages per second; `None`: as many as go.
    pub(crate) rate: Option<f64>,
    pub(crate) other_arbiter: bool,
    pub(crate) json: bool,
}

impl Options {
    /// Reads the command line. A wrong one ends the program, with code 2.
    pub(crate) fn from_command_line() -> Self {
        let Command::Publish(flags) = Flags::parse().command;
        Self::new(flags).unwrap_or_else(|wrong| {
            Flags::command()
                .error(ErrorKind::ValueValidation, wrong)
                .exit()
        })
    }

    fn new(flags: Publish) -> Result<Self, String> {
        let config = config(&flags).map_err(|error| error.to_string())?;
        let (size, largest) = (flags.size, config.max_publish_size());
        if size > largest {
            return Err(format!(
                "--size {size} is more than max_publish_size, {largest}, which --producer-opt may raise"
            ));
        }
        let batch = flags.mpub.unwrap_or_default();
        let (batch_size, largest) = (4 + batch * (4 + size), config.max_batch_size());
        if batch_size > largest {
            return Err(format!(
                "--mpub {batch} of {size} bytes makes {batch_size}, more than max_batch_size, {largest}, which \
                 --producer-opt may raise"
            ));
        }
        let (topics, callers) = (flags.topics, flags.concurrency);
        if topics > callers {
            return Err(format!(
                "--topics {topics} is more than --concurrency {callers}: nobody would publish to some of them"
            ));
        }
        Ok(Self {
            topics: topic_names(&flags.topic, topics).map_err(|error| error.to_string())?,
            config,
            size,
            concurrency: callers,
            messages: flags.messages,
            warmup: flags.warmup.unwrap_or(flags.messages / 10),
            mpub: flags.mpub,
            rate: flags.rate,
            other_arbiter: flags.other_arbiter,
            json: flags.json,
        })
    }
}

fn config(flags: &Publish) -> Result<Config, Error> {
    let version = env!("CARGO_PKG_VERSION");
    let builder = Config::builder(&flags.nsqd_tcp_address)
        .user_agent(format!("nsq_bench/{version} actix-nsq/{version}"))
        .auto_batch(!flags.no_batching);
    flags
        .producer_opt
        .iter()
        .try_fold(builder, |builder, (name, value)| builder.set(name, value))?
        .build()
}

/// One name alone, or several that differ by a number, with what must stand at the end left there.
fn topic_names(topic: &Topic, count: usize) -> Result<Vec<Topic>, NameError> {
    if count == 1 {
        return Ok(vec![topic.clone()]);
    }
    let name = topic.as_str();
    let stem = name.strip_suffix(EPHEMERAL).unwrap_or(name);
    let end = name.strip_prefix(stem).unwrap_or_default();
    (0..count)
        .map(|number| Topic::new(format!("{stem}_{number}{end}")))
        .collect()
}

fn producer_opt(text: &str) -> Result<(String, String), String> {
    match text.split_once('=').unwrap_or((text, "true")) {
        ("", _) => Err("must be name=value".into()),
        (name, value) => Ok((name.into(), value.into())),
    }
}

fn whole(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let number = text
        .parse()
        .map_err(|_| format!("must be a whole number from {least} to {most}"))?;
    (least..=most)
        .contains(&number)
        .then_some(number)
        .ok_or_else(|| format!("must be from {least} to {most}"))
}

fn count(text: &str, most: usize) -> Result<usize, String> {
    Ok(usize::try_from(whole(text, 1, most as u64)?).unwrap_or(most))
}

fn size(text: &str) -> Result<usize, String> {
    count(text, 1 << 30)
}

fn concurrency(text: &str) -> Result<usize, String> {
    count(text, 65_536)
}

fn messages(text: &str) -> Result<u64, String> {
    whole(text, 1, 1_000_000_000_000)
}

fn warmup(text: &str) -> Result<u64, String> {
    whole(text, 0, 1_000_000_000_000)
}

fn topics(text: &str) -> Result<usize, String> {
    count(text, 10_000)
}

fn mpub(text: &str) -> Result<usize, String> {
    count(text, 100_000)
}

fn rate(text: &str) -> Result<f64, String> {
    let wrong = || "must be a number above 0, and at most 10000000".to_owned();
    let rate: f64 = text.parse().map_err(|_| wrong())?;
    (rate > 0.0 && rate <= 1e7)
        .then_some(rate)
        .ok_or_else(wrong)
}
