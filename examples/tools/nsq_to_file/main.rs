//! `nsq_to_file`: writes the messages of topics to files. It has the flags of [NSQ's own
//! tool][nsq].
//!
//! ```text
//! cargo run --example nsq_to_file -- --topic test --nsqd-tcp-address 127.0.0.1:4150
//! nsq_to_file --topic orders --output-dir /var/log/orders --gzip --nsqd-tcp-address host:4150
//! nsq_to_file --topic-pattern '^log\.' --work-dir /data/new --output-dir /data/done \
//!     --rotate-size 1000000000 --lookupd-http-address lookupd:4161
//! ```
//!
//! * A line of a file is the body of a message as it is.
//! * A message is finished when its file and the directories made for it are synced to the disk:
//!   every `--sync-interval`, when a file is opened or closed, when hardly any more messages can
//!   arrive before some are finished, and before messages expire. After a kill or a crash no
//!   finished message is missing in the files; those that were not finished come again, so that
//!   some may be there twice.
//! * With `--gzip` each sync ends a gzip member: a file is readable up to its last sync.
//! * A file ends when its name changes with the time, above `--rotate-size` bytes (before
//!   compression), and after `--rotate-interval`. `<REV>` in the name counts files that would
//!   have the same name. A file that exists is continued, except with `--gzip` and
//!   `--rotate-interval`; the half line of a killed predecessor becomes a line of its own.
//! * With `--work-dir` files move to `--output-dir` when they are finished. Both must be on one
//!   file system. No file is overwritten.
//! * SIGHUP closes the files; the next message opens others. SIGINT and SIGTERM end the program:
//!   what is written is synced and finished, and the rest is returned to nsqd. A second signal ends
//!   it at once.
//! * If a file cannot be written, or the first connection to an nsqd that was given fails, the
//!   program ends in the same way; messages that are not synced are returned. With
//!   `--lookupd-http-address` it waits for nsqds.
//! * Exit codes: 0 after a signal if all answers have reached nsqd, 2 for a wrong command line, 1
//!   otherwise.
//!
//! A `recorder` for each of the `topics` takes its messages and finishes them. It writes them to a
//! `log_file`, in a thread that may block: an `output` has the bytes of one file, `file_name` and
//! `datetime` give its name, and `rotation` decides when it ends. The `directories` are made
//! durable, and files move between them.
//!
//! [nsq]: https://nsq.io/utilities/nsq_to_file.html

#[path = "../shared/arguments.rs"]
mod arguments;
#[path = "../shared/consumer_opt.rs"]
mod consumer_opt;
mod datetime;
mod directories;
#[path = "../shared/duration.rs"]
mod duration;
#[path = "../shared/failure.rs"]
mod failure;
mod file_error;
mod file_name;
mod hangup;
#[path = "../shared/log.rs"]
mod log;
mod log_file;
#[path = "../shared/name_and_value.rs"]
mod name_and_value;
mod options;
mod output;
mod recorder;
mod rotation;
#[path = "../shared/signal.rs"]
mod signal;
#[path = "../shared/source.rs"]
mod source;
mod topics;
#[path = "../shared/unique.rs"]
mod unique;

use std::{error::Error, process, sync::Arc, time::Duration};

use ::log::warn;
use actix_nsq::{Topic, actix::System};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::sync::watch;

use self::{
    directories::Directories,
    hangup::Hangups,
    log::Log,
    log_file::{LogFile, Plan},
    options::{FileOptions, Options},
    recorder::{Orders, Recorder},
    source::Source,
};

fn main() {
    let options = Options::from_command_line();
    let log = Log::start(options.log_prefix.clone().leak(), options.log_level);
    System::new().block_on(async {
        let ended = write_topics(options).await;
        if let Err(error) = &ended {
            log.line(error);
        }
        // The System would wait for a thread that is blocked by the disk.
        process::exit(ended.is_err().into())
    })
}

/// Writes topics until the program is to end.
async fn write_topics(options: Options) -> Result<(), Box<dyn Error>> {
    let files = options.files;
    // It may block: no signal is handled yet.
    let directories = Arc::new(Directories::prepare(&files.output_dir, &files.work_dir)?);
    let mut terminated = Box::pin(signal::terminated(|| process::exit(1))?);
    let mut hangups = Hangups::new()?;
    let mut source = Source::new(options.config, options.channel.clone());
    let mut topics = options.topics.start();
    let (orders, _) = watch::channel(Orders::default());
    let mut recorders = FuturesUnordered::new();
    // What has ended, and the errors.
    let mut recorded = Vec::new();
    let mut errors: Vec<String> = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = &mut terminated => break,
            () = hangups.next() => orders.send_modify(|orders| orders.hangups += 1),
            error = source.failed() => {
                errors.push(error);
                break;
            }
            Some(ended) = recorders.next() => {
                recorded.push(ended);
                break;
            }
            Some(topic) = topics.recv() => {
                let label = format!("[{topic}/{}]", options.channel);
                match plan(&files, &directories, &topic, label.clone()) {
                    Ok(plan) => {
                        let consumer = source.start(&topic)?;
                        let recorder = Recorder::new(consumer, LogFile::new(plan), options.sync);
                        recorders.push(recorder.run(orders.subscribe()));
                    }
                    Err(error) => warn!("{label} the topic is skipped: {error}"),
                }
            }
        }
    }
    drop(terminated);
    orders.send_modify(|orders| orders.ends = true);
    while let Some(ended) = recorders.next().await {
        recorded.push(ended);
    }
    let failed = recorded
        .iter()
        .filter_map(|ended| ended.result.as_ref().err());
    errors.extend(failed.map(ToString::to_string));
    let drained = source.drain(Duration::ZERO).await?;
    if !drained.is_clean() {
        errors.push(format!("some messages may be written again: {drained}"));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors.join("; ").into())
    }
}

/// How the files of this topic are written.
fn plan(
    files: &FileOptions,
    directories: &Arc<Directories>,
    topic: &Topic,
    label: String,
) -> Result<Plan, String> {
    Ok(Plan {
        label,
        name: files.names.of_topic(topic.as_str(), &files.example()?)?,
        datetime: files.datetime.clone(),
        zone: files.zone.clone(),
        directories: Arc::clone(directories),
        rotation: files.rotation,
        compression: files.compression,
        skips_empty: files.skips_empty,
    })
}
