//! `nsq_bench`: how many messages per second this client publishes, and what each of them costs.
//!
//! ```text
//! cargo run --release --example nsq_bench -- publish --topic bench#ephemeral --messages 1000000
//! nsq_bench publish --topic bench#ephemeral --concurrency 1024 --messages 4000000 --json
//! nsq_bench publish --topic bench#ephemeral --messages 100000 --rate 20000        # latency at a given load
//! nsq_bench publish --topic bench#ephemeral --messages 1000000 --no-batching
//! nsq_bench publish --topic flood#ephemeral --concurrency 1024 --beside lone#ephemeral   # who waits for whom
//! ```
//!
//! * So many callers as `--concurrency` says, each a task with an address of the producer of its own, publish in turn:
//!   each sends a message, awaits its answer, and takes the next. They share one connection to one nsqd.
//! * The timed part begins when every answer to the warm-up is in, and ends with the last answer. A message counts when it
//!   is answered ok.
//! * The body is one block of memory that all messages share, so that a caller copies nothing. It is made before the clock
//!   runs, and is not all zeros. With `--bodies` messages hold the lines of a file, in turn, which tells more where the
//!   connection is compressed.
//! * A time is from the moment before the send to the answer. A caller reads the clock once for each publish: the
//!   end of one is the beginning of the next. With `--rate` a time begins when the message was *due*, and a
//!   schedule says when that is, however late the answers before it came. So a stall shows in every message that it held up.
//! * With `--mpub` a command is what is timed, and messages are what is counted.
//! * `cpu_us_per_message` is the time that the processors spent on this process, in user and in system mode, over the timed
//!   part. `allocs_per_message` is counted over the second half of the warm-up (without one, over the timed part), since counting costs
//!   time, and on the thread that publishes: with `--other-arbiter` the producer is on another one, and it is null.
//! * Exit codes: 0 when every publish was ok, 1 when one was not or there is no nsqd, 2 for a wrong command line. When as
//!   many publishes have failed as there are callers, no further one begins.
//!
//! The sentence on standard output has the shape of that of NSQ's own `bench_writer`; with `--json` the last line there is
//! one object.

mod bodies;
mod callers;
mod meter;
mod options;
mod pace;
#[path = "../shared/producer_opt.rs"]
mod producer_opt;
mod report;

use std::{io, process::ExitCode};

use actix_nsq::{
    Producer, PublishError, WaitConnected,
    actix::{Addr, Arbiter, System, SystemRunner},
    producer::GetStats,
};

use self::{callers::Callers, meter::Meter, options::Options, report::Report};

fn main() -> ExitCode {
    let options = Options::from_command_line();
    match run(&options) {
        Ok(report) => {
            report.tell(options.json);
            match report.is_clean() {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            eprintln!("nsq_bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Warms up, publishes, and returns what was measured of the latter.
fn run(options: &Options) -> Result<Report, Box<dyn std::error::Error>> {
    let system = System::new();
    // It lives as long as this function, and with it the producer's thread.
    let (producer, arbiter) = system.block_on(connect(options))?;
    let callers =
        |messages, rate| system.block_on(Callers::new(options, &producer, messages, rate));
    // What grows once has grown in the first half of the warm-up; in the second half allocations are counted.
    let counted = options.warmup / 2;
    let warm_up = |messages| -> Result<u64, Box<dyn std::error::Error>> {
        let ((meter, _), allocations) = publish(&system, callers(messages, None)?)?;
        match meter.failed() {
            0 => Ok(allocations),
            _ => Err(format!("the warm-up failed: {}", meter.failures()).into()),
        }
    };
    warm_up(options.warmup - counted)?;
    let allocations = warm_up(counted)?;
    let callers = callers(options.messages, options.rate)?;
    let before = system.block_on(producer.send(GetStats))?;
    let begun = report::process_time();
    let (measured, allocations) = match counted {
        0 => publish(&system, callers).map(|(meters, all)| (meters, all as f64)),
        // Counting would cost a tenth of all that is done for a message.
        _ => unwatched(&system, callers).map(|meters| (meters, allocations as f64)),
    }?;
    let spent = report::process_time() - begun;
    let (meter, beside) = measured;
    let counted = if counted == 0 {
        options.messages
    } else {
        counted
    };
    let after = system.block_on(producer.send(GetStats))?;
    let commands = after.commands - before.commands;
    let known = arbiter.is_none();
    if let Some(arbiter) = arbiter {
        arbiter.stop();
    }
    Ok(Report::new(
        options,
        (&meter, &beside),
        spent,
        known.then_some(allocations / counted as f64),
        commands,
    ))
}

/// Lets the callers publish, and returns what came of it and how often this thread has allocated meanwhile.
fn publish(system: &SystemRunner, callers: Callers) -> io::Result<((Meter, Meter), u64)> {
    let mut measured = Err(io::Error::other("nothing was measured"));
    let allocations = allocation_counter::measure(|| measured = system.block_on(callers.publish()));
    Ok((measured?, allocations.count_total))
}

/// Lets the callers publish while nothing is counted.
fn unwatched(system: &SystemRunner, callers: Callers) -> io::Result<(Meter, Meter)> {
    let mut measured = Err(io::Error::other("nothing was measured"));
    allocation_counter::opt_out(|| measured = system.block_on(callers.publish()));
    measured
}

/// Starts a producer, on an arbiter of its own if asked for, and waits until it is connected.
async fn connect(options: &Options) -> Result<(Addr<Producer>, Option<Arbiter>), PublishError> {
    let config = options.config.clone();
    let (dial, handshake) = (
        config.connection().dial_timeout(),
        config.connection().handshake_timeout(),
    );
    let arbiter = options.other_arbiter.then(Arbiter::new);
    let producer = match &arbiter {
        Some(arbiter) => Producer::start_in_arbiter(&arbiter.handle(), config),
        None => Producer::start(config),
    };
    // A little longer, to hear why it could not be dialled.
    let timeout = dial + dial / 10;
    let connected = producer.send(WaitConnected { timeout }).await?;
    if let Err(error) = connected {
        if producer.send(GetStats).await?.last_error.is_some() {
            return Err(error.into());
        }
        let timeout = handshake;
        producer.send(WaitConnected { timeout }).await??;
    }
    Ok((producer, arbiter))
}
