//! `to_nsq`: publishes what it reads on its standard input, a message per line. It is [NSQ's own tool][nsq] with its
//! flags, and it tells of every record what became of it.
//!
//! ```text
//! printf 'one\ntwo\n' | cargo run --example to_nsq -- --topic test
//! to_nsq -topic test -nsqd-tcp-address host1:4150 -nsqd-tcp-address host2:4150 < lines
//! to_nsq --topic test --delimiter '\0' --rate 500 --producer-opt publish_timeout=1m --outcome-log outcomes < records
//! ```
//!
//! * Records are separated by the delimiter, which is not part of them. Empty ones are skipped and not counted. The
//!   last one needs no delimiter (NSQ's own tool then cuts off its last byte; this one does not).
//! * Every record is published to each address, to each in the order of the input. An nsqd that is slow slows down the
//!   reading; one that is away is dialled again, and records wait for it until their `publish_timeout`.
//! * The outcome log has one line for each record and address, `<record> <outcome>[ <error>]`: records are numbered from
//!   0, outcomes are `ok`, `not_written`, `maybe_written` and `maybe_partial`. A record's lines come in the order of the
//!   answers. With several addresses an error begins with its address; the record's other addresses are ok.
//! * The last line on standard error is `published: A ok, B not written, C maybe written`.
//! * The exit code is 0 if all are ok, 2 for a wrong command line, and 1 otherwise.
//! * SIGINT and SIGTERM end the reading; what was read has 5 seconds to be published.
//!
//! How it works: a [thread](input) reads and splits; a [lane](lane) for each address publishes with many publishes in
//! flight, and hands each answer to the [report](report).
//!
//! [nsq]: https://nsq.io/utilities/to_nsq.html

mod input;
mod lane;
mod options;
#[path = "../shared/producer_opt.rs"]
mod producer_opt;
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

use self::{input::Chunk, lane::Lane, options::Options, report::Report};

/// After a signal, what was read has so long to be published.
const GRACE: Duration = Duration::from_secs(5);

/// So many chunks wait for a slow lane before the reading waits too.
const CHUNKS: usize = 4;

fn main() -> ExitCode {
    report::log_warnings();
    let options = Options::from_command_line();
    let report = match Report::new(options.outcome_log.as_deref()) {
        Ok(report) => RefCell::new(report),
        Err(error) => {
            report::say(format_args!("{error}"));
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

/// Publishes the input to every address, and returns when everything is answered.
async fn publish_input(options: &Options, report: &RefCell<Report>) -> io::Result<()> {
    let (mut producers, mut feeds, mut lanes) = (Vec::new(), Vec::new(), Vec::new());
    for config in &options.configs {
        let producer = Producer::start(config.clone());
        let (feed, chunks) = mpsc::channel(CHUNKS);
        // Only where there are several does a line need to say which.
        let name = (options.configs.len() > 1).then(|| config.address());
        let lane = Lane::new(producer.clone(), &options.topic, config, name, report);
        lanes.push(lane.run(chunks));
        feeds.push(feed);
        producers.push(producer);
    }
    let (stop, stopped) = oneshot::channel();
    let input = input::read_stdin(options.delimiter, options.rate);
    let feeding = async {
        tokio::select! {
            fed = feed(input, feeds) => fed,
            _ = stopped => Ok(()),
        }
    };
    tokio::select! {
        (fed, _) = join(feeding, join_all(lanes)) => fed,
        never = heed_signals(stop, producers) => match never {},
        never = report::keep_current(report) => match never {},
    }
}

/// Gives every lane every record. It ends at the end of the input, and the lanes then end when all is answered.
async fn feed(
    mut input: mpsc::Receiver<io::Result<Chunk>>,
    lanes: Vec<mpsc::Sender<Chunk>>,
) -> io::Result<()> {
    while let Some(chunk) = input.recv().await {
        let chunk = chunk?;
        for lane in &lanes {
            // A lane takes records as long as there are any.
            let _ = lane.send(chunk.clone()).await;
        }
    }
    Ok(())
}

/// Ends the reading at a signal, and after a while also the waiting for answers: a drained producer answers all it holds.
async fn heed_signals(stop: oneshot::Sender<()>, producers: Vec<Addr<Producer>>) -> Infallible {
    let signal = async { signal::asked_to_end()?.await };
    if let Err(error) = signal.await {
        log::warn!("signals cannot be heeded: {error}");
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
