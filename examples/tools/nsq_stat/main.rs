//! `nsq_stat`: prints the rates and the depth of a channel at regular intervals. It has the flags
//! and the columns of [NSQ's own tool][nsq].
//!
//! ```text
//! cargo run --example nsq_stat -- --topic test --channel c --nsqd-http-address 127.0.0.1:4151
//! nsq_stat --topic orders --channel billing --lookupd-http-address lookupd:4161 --interval 10s
//! nsq_stat --topic orders --channel billing --nsqd-http-address host:4151 --count 1
//! ```
//!
//! * A row has the sums over all nsqds of the topic. Rates are those since the row before, by the
//!   time that has passed. The header is repeated every 25 rows.
//! * With `--lookupd-http-address` the nsqds are looked up before each row.
//! * If the first request fails, or there is no such channel, the program ends. Later a failed
//!   request is reported, and the row is omitted; the rates of the next one are those since the row
//!   before.
//! * The counters of an nsqd that was restarted begin at zero again, and count from there.
//! * A closed standard output, SIGINT and SIGTERM end the program.
//! * Exit codes: 0, 1 if the first request fails, 2 for a wrong command line.
//!
//! `sample` asks the nsqds, and `row` makes a row of two samples.
//!
//! [nsq]: https://nsq.io/utilities/nsq_stat.html

#[path = "../shared/arguments.rs"]
mod arguments;
#[path = "../shared/duration.rs"]
mod duration;
#[path = "../shared/failure.rs"]
mod failure;
#[path = "../shared/log.rs"]
mod log;
mod options;
mod row;
mod sample;
#[path = "../shared/signal.rs"]
mod signal;

use std::{
    error::Error,
    io::{self, ErrorKind, Write},
    process::{self, ExitCode},
    time::Instant,
};

use ::log::LevelFilter;
use actix_nsq::actix::System;
use tokio::time::{MissedTickBehavior, interval};

use self::{
    log::Log,
    options::Options,
    row::{HEADER, Row},
    sample::Sample,
};

/// Number of samples from one header to the next.
const HEADER_INTERVAL: u64 = 25;

fn main() -> ExitCode {
    let log = Log::start("nsq_stat: ", LevelFilter::Warn);
    let options = Options::from_command_line();
    let ended = System::new().block_on(async {
        drop(signal::terminated(|| process::exit(0))?);
        report(&options, log).await
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.line(error);
            ExitCode::FAILURE
        }
    }
}

/// Prints as many rows as are wanted.
async fn report(options: &Options, log: Log) -> Result<(), Box<dyn Error>> {
    let mut ticks = interval(options.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before: Option<(Sample, Instant)> = None;
    let (mut samples, mut rows) = (0, 0);
    while options.count.is_none_or(|count| rows < count) {
        ticks.tick().await;
        let sample = match Sample::take(options).await {
            Ok(sample) => sample,
            Err(error) if before.is_some() => {
                log.line(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        let mut text = String::new();
        if samples % HEADER_INTERVAL == 0 {
            text.push_str(HEADER);
        }
        samples += 1;
        if let Some((before, time)) = &before {
            text.push_str(&Row::between(before, &sample, now - *time).to_string());
            rows += 1;
        }
        before = Some((sample, now));
        match print(&text) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            printed => printed?,
        }
    }
    Ok(())
}

fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()
}
