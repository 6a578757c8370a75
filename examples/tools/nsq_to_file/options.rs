//! The command line: the flags of NSQ's own tool.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use ::log::LevelFilter;
use actix_nsq::{Channel, ConfigError, ConsumerConfig, Topic};
use clap::{CommandFactory, Parser, ValueEnum, error::ErrorKind};
use flate2::Compression;
use jiff::{Timestamp, tz::TimeZone};
use regex_lite::Regex;

use crate::{
    arguments,
    datetime::DatetimeFormat,
    duration::{duration, positive_duration},
    file_name::{NameFormat, NameParts},
    recorder::SyncPolicy,
    rotation::Rotation,
    source::SourceFlags,
    topics::{Discovery, Topics},
    unique::unique,
};

/// Maximum period of a timer: later ones are as good as never, and cannot overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Maximum timeout of a request to nsqlookupd, as for the options of the crate.
const LONGEST_REQUEST: Duration = Duration::from_secs(300);

/// Writes the messages of topics to files.
///
/// Each message is a line. A message is finished when its file is synced to the disk. SIGHUP closes
/// the files. SIGINT and SIGTERM end the program after a last sync.
#[derive(Debug, Parser)]
#[command(name = "nsq_to_file", version)]
struct Flags {
    /// NSQ topic; may be repeated; this or --topic-pattern is required
    #[arg(long)]
    topic: Vec<Topic>,

    /// Write only topics that match this regular expression, anywhere in their names; without
    /// --topic, those that nsqlookupd knows
    #[arg(
        long,
        value_name = "REGEX",
        default_value = "",
        hide_default_value = true
    )]
    topic_pattern: String,

    /// Time between two queries for topics
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = period)]
    topic_refresh: Duration,

    /// NSQ channel
    #[arg(long, default_value = "nsq_to_file")]
    channel: Channel,

    #[command(flatten)]
    source: SourceFlags,

    #[command(flatten)]
    files: FileFlags,

    /// Sync the files this often, and after --max-in-flight messages
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = period)]
    sync_interval: Duration,

    /// Timeout for connecting to nsqlookupd in a query for topics
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = timeout)]
    http_client_connect_timeout: Duration,

    /// Timeout of a query for topics
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = timeout)]
    http_client_request_timeout: Duration,

    /// Least level of the lines on standard error
    #[arg(long, value_enum, default_value = "info", ignore_case = true)]
    log_level: LogLevel,

    /// Begin each line on standard error with this
    #[arg(long, value_name = "TEXT", default_value = "[nsq_to_file] ")]
    log_prefix: String,
}

/// The flags of the files.
#[derive(Debug, clap::Args)]
struct FileFlags {
    /// Directory of the files
    #[arg(long, value_name = "DIRECTORY", default_value = "/tmp")]
    output_dir: OsString,

    /// Directory of files that are not finished; they move to --output-dir [default: --output-dir]
    #[arg(
        long,
        value_name = "DIRECTORY",
        default_value = "",
        hide_default_value = true
    )]
    work_dir: OsString,

    /// Format of <DATETIME>, as for strftime: %B %b %m %A %a %d %H %I %M %S %Y %y %p %Z %z %%
    #[arg(long, value_name = "FORMAT", default_value = "%Y-%m-%d_%H")]
    datetime_format: DatetimeFormat,

    /// Format of the file names: <TOPIC>, <HOST>, <PID>, <DATETIME> and <REV> are replaced. <REV>
    /// counts files that would have the same name; --gzip, --rotate-size, --rotate-interval and
    /// --work-dir need it, and without them it is empty
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "<TOPIC>.<HOST><REV>.<DATETIME>.log"
    )]
    filename_format: String,

    /// What replaces <HOST>: <SHORT_HOST> and <HOSTNAME> are replaced [default: <SHORT_HOST>]
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    host_identifier: String,

    /// Compress the files; each sync ends a gzip member
    #[arg(long)]
    gzip: bool,

    /// Compression level, from 1 (fastest) to 9 (smallest)
    #[arg(
        long,
        value_name = "N",
        default_value_t = 6,
        value_parser = clap::value_parser!(u32).range(1..=9)
    )]
    gzip_level: u32,

    /// Without messages, create no files
    #[arg(long)]
    skip_empty_files: bool,

    /// Begin another file when one has more bytes than this, before compression; 0: no limit
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    rotate_size: u64,

    /// Begin another file when one has been open longer than this; 0: no limit
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration)]
    rotate_interval: Duration,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
    /// Only what ends the program.
    Fatal,
}

fn period(text: &str) -> Result<Duration, String> {
    Ok(positive_duration(text)?.min(LONGEST))
}

fn timeout(text: &str) -> Result<Duration, String> {
    match positive_duration(text)? {
        timeout if timeout >= Duration::from_millis(1) && timeout <= LONGEST_REQUEST => Ok(timeout),
        _ => Err("must be from 1ms to 5m".into()),
    }
}

/// The command line.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) topics: Topics,
    pub(crate) channel: Channel,
    pub(crate) config: ConsumerConfig,
    pub(crate) sync: SyncPolicy,
    pub(crate) files: FileOptions,
    pub(crate) log_level: LevelFilter,
    pub(crate) log_prefix: String,
}

/// How the files are written.
#[derive(Debug)]
pub(crate) struct FileOptions {
    pub(crate) output_dir: PathBuf,
    pub(crate) work_dir: PathBuf,
    pub(crate) names: NameFormat,
    pub(crate) datetime: DatetimeFormat,
    pub(crate) zone: TimeZone,
    pub(crate) rotation: Rotation,
    pub(crate) compression: Option<Compression>,
    pub(crate) skips_empty: bool,
}

impl Options {
    /// Parses the command line. Exits with code 2 if it is wrong.
    pub(crate) fn from_command_line() -> Self {
        let flags = arguments::parse();
        Self::checked(flags).unwrap_or_else(|error| {
            Flags::command()
                .error(ErrorKind::ValueValidation, error)
                .exit()
        })
    }

    fn checked(flags: Flags) -> Result<Self, String> {
        let invalid = |error: ConfigError| error.to_string();
        let config = flags.source.config("nsq_to_file").map_err(invalid)?;
        let topics = topics(&flags)?;
        let files = FileOptions::new(flags.files)?;
        if let Topics::Given { topics, .. } = &topics {
            for topic in topics {
                files.names.of_topic(topic.as_str(), &files.example()?)?;
            }
        }
        Ok(Self {
            topics,
            channel: flags.channel,
            sync: SyncPolicy {
                interval: flags.sync_interval,
                max_unsynced: config.max_in_flight(),
            },
            config,
            files,
            log_level: match flags.log_level {
                LogLevel::Debug => LevelFilter::Debug,
                LogLevel::Info => LevelFilter::Info,
                LogLevel::Warn => LevelFilter::Warn,
                LogLevel::Error => LevelFilter::Error,
                LogLevel::Fatal => LevelFilter::Off,
            },
            log_prefix: flags.log_prefix,
        })
    }
}

fn topics(flags: &Flags) -> Result<Topics, String> {
    let pattern = Regex::new(&flags.topic_pattern)
        .map_err(|error| format!("--topic-pattern {:?}: {error}", flags.topic_pattern))?;
    if flags.topic.is_empty() {
        if flags.topic_pattern.is_empty() {
            return Err("--topic or --topic-pattern is required".into());
        }
        if flags.source.addresses.lookupd_http_address.is_empty() {
            return Err("--topic-pattern without --topic needs --lookupd-http-address".into());
        }
        let builder = flags.source.builder("nsq_to_file");
        let config = builder.and_then(|builder| {
            let builder = builder
                .dial_timeout(flags.http_client_connect_timeout)
                .lookupd_poll_timeout(flags.http_client_request_timeout);
            builder.build()
        });
        return Ok(Topics::Discovered(Discovery {
            config: config.map_err(|error| error.to_string())?.lookup().clone(),
            pattern,
            refresh: flags.topic_refresh,
        }));
    }
    let all = unique(flags.topic.iter().cloned());
    let matches = |topic: &Topic| pattern.is_match(topic.as_str());
    let (topics, skipped): (Vec<_>, _) = all.into_iter().partition(matches);
    if topics.is_empty() {
        return Err(format!(
            "no --topic matches --topic-pattern {:?}",
            flags.topic_pattern
        ));
    }
    Ok(Topics::Given { topics, skipped })
}

impl FileOptions {
    fn new(flags: FileFlags) -> Result<Self, String> {
        let or = |path: OsString, other: &Path| match path.is_empty() {
            true => other.to_owned(),
            false => PathBuf::from(path),
        };
        let output_dir = or(flags.output_dir, Path::new("."));
        let work_dir = or(flags.work_dir, &output_dir);
        let rotation = Rotation {
            size: (flags.rotate_size > 0).then_some(flags.rotate_size),
            interval: (!flags.rotate_interval.is_zero()).then_some(flags.rotate_interval),
        };
        let hostname = hostname::get().map_err(|error| format!("no host name: {error}"))?;
        let has_revision = flags.gzip
            || rotation.size.is_some()
            || rotation.interval.is_some()
            || work_dir != output_dir;
        let names = NameFormat::new(NameParts {
            format: &flags.filename_format,
            identifier: &flags.host_identifier,
            hostname: &hostname.to_string_lossy(),
            pid: process::id(),
            has_revision,
            is_gzip: flags.gzip,
        })?;
        let files = Self {
            output_dir,
            work_dir,
            names,
            datetime: flags.datetime_format,
            zone: TimeZone::try_system().unwrap_or(TimeZone::UTC),
            rotation,
            compression: flags.gzip.then(|| Compression::new(flags.gzip_level)),
            skips_empty: flags.skip_empty_files,
        };
        files.names.of_topic("topic", &files.example()?)?;
        Ok(files)
    }

    /// The current time as it is in a file name.
    pub(crate) fn example(&self) -> Result<String, String> {
        let now = Timestamp::now().to_zoned_datetime(self.zone.clone());
        self.datetime
            .format(&now)
            .map_err(|error| error.to_string())
    }
}
