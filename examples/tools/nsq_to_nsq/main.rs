//! `nsq_to_nsq`: publishes the messages of topics to other nsqds. It has the flags of [NSQ's own
//! tool][nsq].
//!
//! ```text
//! cargo run --example nsq_to_nsq -- --topic test --nsqd-tcp-address 127.0.0.1:4150 \
//!     --destination-topic copy --destination-nsqd-tcp-address 127.0.0.1:4150
//! nsq_to_nsq --topic orders --topic payments --lookupd-http-address lookupd:4161 \
//!     --destination-nsqd-tcp-address host1:4150 --destination-nsqd-tcp-address host2:4150
//! nsq_to_nsq --topic events --nsqd-tcp-address host:4150 --destination-topic purchases \
//!     --destination-nsqd-tcp-address other:4150 \
//!     --require-json-field type --require-json-value purchase --whitelist-json-field order
//! ```
//!
//! * Each message goes to one of the destinations; those that answer sooner get more. Up to
//!   `--max-in-flight` messages of each topic are published at the same time, so that they share
//!   commands, and one that waits delays no other. There is no order.
//! * Modes: with `hostpool` and `epsilon-greedy`, which are the same, a destination gets runs of up
//!   to 256 messages; with `round-robin` each message is a run of its own and has a command of its
//!   own, which costs throughput. In each mode a destination that is slow or has failed gets one
//!   message per second until it answers in time.
//! * A message is finished when a destination has stored it, and requeued otherwise. Delivery is
//!   at least once: a message whose connection is lost before the answer is published again at
//!   once, up to twice, and may be stored twice.
//! * No destination that is down or hangs delays a message by more than a second while another one
//!   is up. What waits for it goes to another one at once. What is in flight there has no result
//!   after 0.9 s: then another one gets it as well, and it may be stored twice.
//! * While no destination is connected, at the start too, no messages are requested. Those that are
//!   held are requeued after `publish_timeout` (30 s).
//! * A message that the destination rejects for itself (for example, it is too large) is reported
//!   and requeued with the default delay, which grows, and without backoff: it delays no other.
//!   After any other failure (no destination, topic not authorized) the consumer of the topic backs
//!   off.
//! * `--require-json-field` passes messages that have this field of the JSON object, with
//!   `--require-json-value` only those where it is this string or number. The others are finished.
//!   `--whitelist-json-field` keeps these fields alone. Their values are copied byte by byte:
//!   numbers keep their digits.
//! * With one of these flags a message that is not a JSON object is finished, as by NSQ's own tool,
//!   and reported with the first 200 bytes of its body.
//! * Of each kind of failure the first ten are printed, then one a minute; all are counted.
//! * `--status-every` prints a line after this number of publishes: 99th and 95th percentile and
//!   mean of the time to the result. Of several destinations each has a line of its own, after at
//!   least as many messages that it has stored.
//! * If the first connection to a source nsqd that was given fails, the program ends. With
//!   `--lookupd-http-address` it waits for nsqds.
//! * SIGINT and SIGTERM end the program: it requests no more messages, and publishes those it has
//!   within 5 seconds. What is not published then is returned. A second signal ends it at once.
//! * The last line on standard error is `published: A ok, B passed over, C not JSON, D rejected,
//!   E requeued, F maybe twice`.
//! * Exit codes: 2 for a wrong command line; 1 if a message was rejected or is not JSON, if nsqd
//!   did not execute every answer at the end, or after a failure; 0 otherwise.
//!
//! The shared `source` yields messages. A `forwarder` passes each through the `filter`, which takes
//! the `fields` of a JSON object apart. A `publisher` publishes it through the pool, and the
//! forwarder gives the `answer` to the result. The `outage` pauses the source. Outcomes go to the
//! `report`, times to the `status`.
//!
//! [nsq]: https://nsq.io/utilities/nsq_to_nsq.html

mod answer;
#[path = "../shared/arguments.rs"]
mod arguments;
#[path = "../shared/consumer_opt.rs"]
mod consumer_opt;
#[path = "../shared/failure.rs"]
mod failure;
mod fields;
mod filter;
mod forwarder;
#[path = "../shared/log.rs"]
mod log;
#[path = "../shared/name_and_value.rs"]
mod name_and_value;
mod options;
mod outage;
#[path = "../shared/producer_opt.rs"]
mod producer_opt;
mod publisher;
mod report;
#[path = "../shared/signal.rs"]
mod signal;
#[path = "../shared/source.rs"]
mod source;
mod status;
#[path = "../shared/unique.rs"]
mod unique;

use std::{
    cell::RefCell,
    error::Error,
    pin::pin,
    process::{self, ExitCode},
    time::Duration,
};

use ::log::LevelFilter;
use actix_nsq::{ProducerHandle, ProducerPool, actix::System};
use futures::{
    StreamExt,
    future::join,
    stream::{FuturesUnordered, select_all},
};
use tokio::time::timeout;

use self::{
    forwarder::Forwarder,
    log::Log,
    options::Options,
    report::Report,
    source::{Drained, Source},
    status::Status,
};

/// Time to publish the messages that it has when it is to end.
const GRACE: Duration = Duration::from_secs(5);

/// More time to answer them, in which nothing is waited for.
const ANSWERS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let log = Log::start("nsq_to_nsq: ", LevelFilter::Warn);
    let options = Options::from_command_line();
    let report = RefCell::new(Report::new(log));
    let forwarded = System::new().block_on(forward(&options, log, &report));
    if let Err(error) = &forwarded {
        log.line(error);
    }
    let report = report.into_inner();
    log.line(&report);
    if forwarded.is_ok() && report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Forwards messages until the program is to end, and drains the consumers and the pool.
async fn forward(
    options: &Options,
    log: Log,
    report: &RefCell<Report>,
) -> Result<(), Box<dyn Error>> {
    let mut terminated = Box::pin(signal::terminated(|| process::exit(1))?);
    let pool = ProducerHandle::start_pool(options.destinations.clone());
    let mut source = Source::new(options.source.clone(), options.channel.clone());
    let (mut consumers, mut streams) = (Vec::new(), Vec::new());
    for topic in &options.topics {
        let (consumer, messages) = source.start(topic)?;
        consumers.push(consumer);
        streams.push(messages);
    }
    outage::pause_while_none_is_up(&pool, consumers, log);
    let mut messages = select_all(streams);
    let mut status = Status::new(options.status_every, log)?;
    let forwarder = Forwarder {
        pool: &pool,
        topic: options.destination_topic.as_ref(),
        filter: &options.filter,
        report,
    };
    let mut running = FuturesUnordered::new();
    let ended = loop {
        tokio::select! {
            biased;
            () = &mut terminated => break Ok(()),
            error = source.failed() => break Err(error.into()),
            Some(published) = running.next() => if let Some(time) = published {
                status.record(time, &pool).await;
            },
            message = messages.next() => match message {
                Some(message) => running.push(forwarder.forward(message)),
                None => break Ok(()),
            },
        }
    };
    drop(terminated);
    let drained = drain(&source, &pool, running.map(drop).collect()).await?;
    if ended.is_ok() && !drained.is_clean() {
        return Err(format!("some messages may be delivered again: {drained}").into());
    }
    ended
}

/// Drains the consumers, while the messages that are `running` are published, and then the pool,
/// which answers the rest.
async fn drain(
    source: &Source,
    pool: &ProducerHandle<ProducerPool>,
    running: impl Future<Output = ()>,
) -> Result<Drained, Box<dyn Error>> {
    let publish_the_rest = async {
        let mut running = pin!(running);
        let in_time = timeout(GRACE, &mut running).await;
        let drained = pool.drain(Duration::ZERO).await;
        if in_time.is_err() {
            running.await;
        }
        drained
    };
    let (drained, published) = join(source.drain(GRACE + ANSWERS), publish_the_rest).await;
    published?;
    Ok(drained?)
}
