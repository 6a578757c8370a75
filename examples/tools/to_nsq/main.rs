//! `to_nsq`: publishes the lines of its standard input. It has the flags of [NSQ's own tool][nsq],
//! and can log the outcome of every line.
//!
//! ```text
//! printf 'one\ntwo\n' | cargo run --example to_nsq -- --topic test
//! to_nsq -topic test -nsqd-tcp-address host1:4150 -nsqd-tcp-address host2:4150 < lines
//! to_nsq --topic test --delimiter '\0' --rate 500 --producer-opt publish_timeout=1m < records
//! ```
//!
//! * The delimiter separates records and is not part of them. Empty records are skipped and not
//!   counted. The last record needs no delimiter (NSQ's own tool cuts off its last byte in that
//!   case).
//! * Every record is published to each address, in the order of the input. A slow nsqd slows down
//!   the reading. If nsqd is down, the tool reconnects, and records wait until their
//!   `publish_timeout`.
//! * The outcome log has one line per record and address: `<record> <outcome>[ <error>]`. Records
//!   are numbered from 0; outcomes are `ok`, `not_written`, `maybe_written` and `maybe_partial`.
//!   Lines are in the order of the results. With several addresses an error begins with the
//!   address.
//! * The last line on standard error is `published: A ok, B not written, C maybe written`.
//! * Exit codes: 0 if all publishes are ok, 2 for a wrong command line, 1 otherwise.
//! * On SIGINT and SIGTERM it stops reading, and publishes what it has read within 5 seconds.
//!
//! A thread reads and splits the input (`input`); one `publisher` per address publishes, with many
//! publishes in flight, and passes each result to the `report`.
//!
//! [nsq]: https://nsq.io/utilities/to_nsq.html

#[path = "../shared/arguments.rs"]
mod arguments;
mod input;
mod options;
#[path = "../shared/producer_opt.rs"]
mod producer_opt;
mod publisher;
mod report;
#[path = "../shared/signal.rs"]
mod signal;

use std::{cell::RefCell, convert::Infallible, io, process::ExitCode, time::Duration};

use actix_nsq::{
    Producer,
    actix::{Addr, System},
    producer::Drain,
};
use futures::future::{join, join_all, pending};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use self::{input::Chunk, options::Options, publisher::Publisher, report::Report};

/// Time to publish what was read before a signal.
const GRACE: Duration = Duration::from_secs(5);

/// Maximum number of chunks that are queued for one publisher; then the reading pauses.
const CHUNKS: usize = 4;

fn main() -> ExitCode {
    report::log_warnings();
    let options = Options::from_command_line();
    let report = match Report::new(options.outcome_log.as_deref()) {
        Ok(report) => RefCell::new(report),
        Err(error) => {
            report::print_line(format_args!("{error}"));
            return ExitCode::FAILURE;
        }
    };
    let read = System::new().block_on(publish_input(&options, &report));
    if report.into_inner().finish(read) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Publishes the input to every address, and returns when every publish has a result.
async fn publish_input(options: &Options, report: &RefCell<Report>) -> io::Result<()> {
    let (mut producers, mut queues, mut publishers) = (Vec::new(), Vec::new(), Vec::new());
    for config in &options.configs {
        let producer = Producer::start(config.clone());
        let (queue, chunks) = mpsc::channel(CHUNKS);
        // A single address is not named in the log.
        let name = (options.configs.len() > 1).then(|| config.address());
        let publisher = Publisher::new(producer.clone(), &options.topic, config, name, report);
        publishers.push(publisher.run(chunks));
        queues.push(queue);
        producers.push(producer);
    }
    let (stop, stopped) = oneshot::channel();
    let input = input::read_stdin(options.delimiter, options.rate);
    let reading = async {
        tokio::select! {
            read = distribute(input, queues) => read,
            _ = stopped => Ok(()),
        }
    };
    tokio::select! {
        (read, _) = join(reading, join_all(publishers)) => read,
        never = handle_signals(stop, producers) => match never {},
        never = report::keep_current(report) => match never {},
    }
}

/// Sends every record to every publisher. At the end of the input the queues are closed, and the
/// publishers finish.
async fn distribute(
    mut input: mpsc::Receiver<io::Result<Chunk>>,
    queues: Vec<mpsc::Sender<Chunk>>,
) -> io::Result<()> {
    while let Some(chunk) = input.recv().await {
        let chunk = chunk?;
        for queue in &queues {
            // Cannot fail: a publisher receives until its queue is closed.
            let _ = queue.send(chunk.clone()).await;
        }
    }
    Ok(())
}

/// On a signal, stops the reading, and after `GRACE` drains the producers, which completes every
/// publish.
async fn handle_signals(stop: oneshot::Sender<()>, producers: Vec<Addr<Producer>>) -> Infallible {
    let signal = async { signal::terminated()?.await };
    if let Err(error) = signal.await {
        log::warn!("cannot handle signals: {error}");
        return pending().await;
    }
    drop(stop);
    sleep(GRACE).await;
    for producer in producers {
        producer.do_send(Drain {
            timeout: Duration::ZERO,
        });
    }
    pending().await
}
