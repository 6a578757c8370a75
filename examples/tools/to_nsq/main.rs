//! `to_nsq`: publishes the lines of its standard input. It has the flags of [NSQ's own tool][nsq],
//! and can log the outcome of every line.
//!
//! ```text
//! cargo run --example to_nsq -- --topic test --nsqd-tcp-address 127.0.0.1:4150 < lines
//! to_nsq -topic test -nsqd-tcp-address host1:4150 -nsqd-tcp-address host2:4150 < lines
//! to_nsq --topic test --pool --nsqd-tcp-address host1:4150 --nsqd-tcp-address host2:4150 < lines
//! to_nsq --topic test --nsqd-tcp-address host:4150 --delimiter '\0' --rate 500 < records
//! tail -F log | to_nsq --topic log --nsqd-tcp-address host:4150 --on-failure skip
//! ```
//!
//! * The delimiter separates records and is not part of them. The last record needs no delimiter
//!   (NSQ's own tool cuts off its last byte in that case).
//! * Every record is published to each address, in the order of the input. The input waits for the
//!   slowest nsqd, and is read only as far ahead as nsqd answers in time.
//! * With `--pool` every record is published to one of the addresses instead. The order is not
//!   kept. A record that waits for an nsqd that is down or slow goes to another one; only what is
//!   in flight there waits. "Not connected" means that none is. `--producer-opt` sets the options
//!   of the pool, too, such as `strategy=primary`.
//! * `--on-failure` decides about a record that nsqd cannot take at the moment. `retry` (default):
//!   the input waits, nothing is skipped, and the order is kept; `publish_timeout` does not apply.
//!   `stop`: the program ends, as NSQ's own tool does; it does not wait for a connection, unless
//!   `--producer-opt wait_for_connection,always` is given. `skip`: the record has failed. A record
//!   without a result within `publish_timeout` is such a record.
//! * A record that can never succeed (empty, too large) is reported and passed over in each mode,
//!   or ends the program with `--on-invalid stop`. An error that concerns all records, such as a
//!   topic that is not authorized, ends the program, except with `--on-failure skip`.
//! * A record that may have been written is never sent again, except with `--producer-opt
//!   retry_maybe_written,true`. It counts as "maybe written".
//! * If the first connection fails for a reason that waiting does not cure (unknown name, a port of
//!   another server, TLS or AUTH), the program ends, and reads nothing. With `--pool` this applies
//!   if no address can be connected to.
//! * The outcome log has one line per record and address, with `--pool` per record:
//!   `<record> <outcome>[ <error>]`. Records are numbered from 0; outcomes are `ok`, `not_written`,
//!   `maybe_written` and `maybe_partial`. Lines are in the order of the results. With several
//!   addresses an error begins with the address.
//! * The last line on standard error is `published: A ok, B not written, C maybe written`.
//! * Exit codes: 0 if all publishes are ok, 2 for a wrong command line, 1 otherwise.
//! * On SIGINT and SIGTERM it stops reading, and publishes what it has read within 5 seconds. A
//!   second signal ends it at once.
//!
//! A thread reads and splits the input (`input`) into `record`s. One `delivery` per `destination`
//! publishes them over its `connection`, within its `read_ahead`, and handles their `results`; the
//! `policy` decides about failures. Each result goes to the `report` and its `outcome_log`.
//!
//! [nsq]: https://nsq.io/utilities/to_nsq.html

#[path = "../shared/arguments.rs"]
mod arguments;
mod connection;
mod delivery;
mod destination;
#[path = "../shared/failure.rs"]
mod failure;
mod input;
#[path = "../shared/name_and_value.rs"]
mod name_and_value;
mod options;
mod outcome_log;
mod policy;
#[path = "../shared/producer_opt.rs"]
mod producer_opt;
mod read_ahead;
mod record;
mod report;
mod results;
#[path = "../shared/signal.rs"]
mod signal;
mod stop;
mod throttle;
#[path = "../shared/unique.rs"]
mod unique;

use std::{
    cell::RefCell, convert::Infallible, error::Error, future::pending, io, process::ExitCode,
    time::Duration,
};

use actix_nsq::actix::System;
use futures::future::{join, join_all, try_join_all};
use tokio::{sync::mpsc, time::sleep};

use self::{
    connection::Connection, delivery::Delivery, input::Input, options::Options, policy::OnFailure,
    record::Chunk, report::Report, stop::Stop,
};

/// Time to publish what was read before a signal or a failure.
const GRACE: Duration = Duration::from_secs(5);

/// Interval at which progress and outages are reported.
const INTERVAL: Duration = Duration::from_millis(500);

/// Maximum number of chunks that are queued for one destination; then the reading pauses.
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
    let published = System::new().block_on(publish_input(&options, &report));
    if report.into_inner().finish(published) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Publishes the input to every destination, and returns when every record has a result.
async fn publish_input(options: &Options, report: &RefCell<Report>) -> Result<(), Box<dyn Error>> {
    let stop = Stop::new();
    let connections: Vec<_> = options.destinations.iter().map(Connection::start).collect();
    let on_failure = options.policy.on_failure;
    let deliver = async {
        // Of several destinations, those that are there receive what is read ahead.
        let waits = on_failure == OnFailure::Retry && connections.len() == 1;
        let first = connections.iter().map(|connection| connection.first(waits));
        tokio::select! {
            first = try_join_all(first) => first?,
            () = stop.requested() => return Ok(()),
        };
        let (queues, deliveries): (Vec<_>, Vec<_>) = options
            .destinations
            .iter()
            .zip(&connections)
            .map(|(destination, connection)| {
                let (queue, chunks) = mpsc::channel(CHUNKS);
                // A single destination is not named in the log.
                let name = (connections.len() > 1).then(|| destination.limits().address());
                let delivery = Delivery::new(
                    connection,
                    &options.topic,
                    (destination, options.policy),
                    name,
                    (report, &stop),
                );
                (queue, delivery.run(chunks))
            })
            .unzip();
        let input = Input::start(options.format, options.rate);
        let reading = distribute(input, queues, &stop);
        let (read, _) = join(reading, join_all(deliveries)).await;
        read.map_err(|error| format!("cannot read the input: {error}").into())
    };
    let delivered = tokio::select! {
        delivered = deliver => delivered,
        never = stop.on_signal() => match never {},
        never = drain_after_stop(&stop, &connections) => match never {},
        never = keep_current(on_failure, report, &connections) => match never {},
    };
    for connection in &connections {
        connection.report_outage(on_failure);
    }
    delivered
}

/// Sends every record to every delivery. At the end of the input, or of what was read when the
/// program is to end, the queues are closed, and the deliveries finish.
async fn distribute(
    mut input: Input,
    queues: Vec<mpsc::Sender<Chunk>>,
    stop: &Stop,
) -> io::Result<()> {
    loop {
        let chunk = tokio::select! {
            biased;
            () = stop.requested() => input.next_already_read().await?,
            chunk = input.next() => chunk?,
        };
        let Some(chunk) = chunk else { return Ok(()) };
        for queue in &queues {
            // Cannot fail: a delivery receives until its queue is closed.
            let _ = queue.send(chunk.clone()).await;
        }
    }
}

/// When the program is to end, drains the producers after `GRACE`, which completes every publish.
async fn drain_after_stop(stop: &Stop, connections: &[Connection]) -> Infallible {
    stop.requested().await;
    sleep(GRACE).await;
    let stops = connections
        .iter()
        .map(|connection| connection.publisher.stop());
    join_all(stops).await;
    pending().await
}

/// Reports progress and outages at regular intervals.
async fn keep_current(
    on_failure: OnFailure,
    report: &RefCell<Report>,
    connections: &[Connection],
) -> Infallible {
    loop {
        sleep(INTERVAL).await;
        for connection in connections {
            connection.report_outage(on_failure);
        }
        report.borrow_mut().show_progress();
    }
}
