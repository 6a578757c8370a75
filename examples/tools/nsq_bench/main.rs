//! `nsq_bench`: a load generator that measures throughput, latency and cost of this client.
//!
//! # Publish
//!
//! ```text
//! cargo run --release --example nsq_bench -- publish --topic bench#ephemeral --messages 1000000
//! nsq_bench publish --topic bench#ephemeral --concurrency 1024 --messages 4000000 --json
//! nsq_bench publish --topic bench#ephemeral --messages 100000 --rate 20000
//! nsq_bench publish --topic bench#ephemeral --messages 1000000 --no-batching
//! nsq_bench publish --topic bench#ephemeral --messages 1000000 --handle
//! nsq_bench publish --topic bench#ephemeral --messages 100000 --defer 1s
//! nsq_bench publish --topic flood#ephemeral --concurrency 1024 --beside lone#ephemeral
//! ```
//!
//! * `--concurrency` sets the number of callers. Each is a task that publishes a message, awaits
//!   its result, and takes the next. All callers share one producer and one connection, or, with
//!   several `--nsqd-tcp-address`, one pool.
//! * The callers send messages to the address of the actor. With `--handle` they call methods of
//!   `ProducerHandle`. `--defer` publishes with a delay (DPUB), which cannot be batched.
//! * The measurement starts when the warm-up is complete, and ends with the last result. The
//!   throughput counts the messages that are ok.
//! * All messages share one body in memory, so callers copy nothing. `--bodies` takes the bodies
//!   from the lines of a file, for realistic figures with compression.
//! * Latency is measured from the send to the result. With `--rate` it is measured from the time
//!   when the message was due, so that a stall shows in every message that it delays (no
//!   coordinated omission).
//! * With `--mpub` latency is that of a command; counts and rates are in messages.
//! * `cpu_us_per_message` is the CPU time of the process during the measurement.
//!   `allocs_per_message` is counted in the second half of the warm-up, because counting takes time
//!   (without a warm-up, during the measurement), and in the thread of the callers: with
//!   `--other-arbiter` it is null.
//! * Exit codes: 0 if every publish is ok, 1 if one failed or nsqd is unreachable, 2 for a wrong
//!   command line. When as many messages have failed as there are callers, the run stops.
//!
//! # Consume
//!
//! ```text
//! nsq_bench consume --nsqd-tcp-address 127.0.0.1:4150 --topic bench --channel nsq_bench \
//!     --max-in-flight 2500 --messages 500000 --mode batch
//! nsq_bench consume --topic bench --channel nsq_bench --messages 5000 --max-in-flight 40 \
//!     --mode closure --handler-time 20ms
//! nsq_bench consume --topic bench --channel nsq_bench --messages 1000000 --publishers 64
//! ```
//!
//! * The channel must have that number of messages, or get them meanwhile: `nsq_bench publish` can
//!   publish them. Each is finished as soon as a handler has it.
//! * With `--publishers` tasks of the same process publish them, on the arbiter of the consumer.
//!   Each awaits the result of a publish before the next. `cpu_us_per_message` and
//!   `allocs_per_message` then are those of both.
//! * `--count-allocations` counts the allocations, which takes time: other figures of that run are
//!   worse. Without it `allocs_per_message` is null.
//! * `--mode` is the kind of handler: an actor that gets one message at a time (`recipient`) or the
//!   messages of a read (`batch`), an async closure, or a stream. They run on the arbiter of the
//!   consumer.
//! * The measurement starts with the first finished message and ends when 99 percent are finished,
//!   so that neither the connecting nor the last messages count.
//! * Then the consumer is drained, which proves that nsqd has executed every answer. Messages
//!   beyond that number are returned.
//! * Exit codes: 0 if nsqd has executed a FIN for each message, 1 if not, if no message comes for
//!   `--idle-timeout`, or if nsqd is unreachable, 2 for a wrong command line.
//!
//! # Report
//!
//! The summary on standard output has the format of NSQ's `bench_writer`. With `--json` a JSON
//! object follows on the last line.

#[path = "../shared/arguments.rs"]
mod arguments;
mod bodies;
mod callers;
mod consume;
#[path = "../shared/consumer_opt.rs"]
mod consumer_opt;
mod measurement;
#[path = "../shared/name_and_value.rs"]
mod name_and_value;
mod options;
#[path = "../shared/producer_opt.rs"]
mod producer_opt;
mod report;
mod schedule;

use std::{
    io,
    process::ExitCode,
    time::{Duration, Instant},
};

use actix_nsq::{
    PoolConfig, ProducerHandle, ProducerPool, PublishError,
    actix::{Arbiter, ArbiterHandle, System, SystemRunner},
};

use self::{
    callers::{Callers, Publisher},
    measurement::Measurement,
    options::{Command, Options},
    report::Report,
};

fn main() -> ExitCode {
    let ended = match Command::from_command_line() {
        Command::Publish(options) => run(&options).map(|report| {
            report.print(options.json);
            report.is_clean()
        }),
        Command::Consume(options) => consume::run(&options).map(|report| {
            report.print(options.json);
            report.is_clean()
        }),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("nsq_bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts a producer or a pool, and measures it.
fn run(options: &Options) -> Result<Report, Box<dyn std::error::Error>> {
    let system = System::new();
    let arbiter = options.other_arbiter.then(Arbiter::new);
    let handle = arbiter.as_ref().map(Arbiter::handle);
    let report = if let Some(config) = &options.pool {
        let pool = system.block_on(connect_pool(config.clone(), handle))?;
        let commands = || {
            let stats = system.block_on(pool.stats())?;
            Ok(stats.members.iter().map(|it| it.producer.commands).sum())
        };
        measure(options, &system, &pool, commands)?
    } else {
        let producer = system.block_on(connect(options, handle))?;
        let commands = || Ok(system.block_on(producer.stats())?.commands);
        measure(options, &system, &producer, commands)?
    };
    if let Some(arbiter) = arbiter {
        arbiter.stop();
    }
    Ok(report)
}

/// Warms up, then publishes and measures. `commands` returns how many were sent so far.
fn measure<A: Publisher>(
    options: &Options,
    system: &SystemRunner,
    producer: &ProducerHandle<A>,
    commands: impl Fn() -> Result<u64, PublishError>,
) -> Result<Report, Box<dyn std::error::Error>> {
    let callers = |messages, rate| system.block_on(Callers::new(options, producer, messages, rate));
    // Buffers grow in the first half of the warm-up; allocations are counted in the second half.
    let counted = options.warmup / 2;
    let warm_up = |messages| -> Result<u64, Box<dyn std::error::Error>> {
        let ((measurement, _), allocations) = publish(system, callers(messages, None)?)?;
        match measurement.failed() {
            0 => Ok(allocations),
            _ => Err(format!("the warm-up failed: {}", measurement.failures()).into()),
        }
    };
    warm_up(options.warmup - counted)?;
    let allocations = warm_up(counted)?;
    let callers = callers(options.messages, options.rate)?;
    let before = commands()?;
    let cpu_before = report::process_time();
    let (measurements, allocations) = match counted {
        0 => publish(system, callers).map(|(measured, all)| (measured, all as f64)),
        // Counting takes a tenth of the time of a publish.
        _ => publish_uncounted(system, callers).map(|measured| (measured, allocations as f64)),
    }?;
    let cpu_time = report::process_time() - cpu_before;
    let (measurement, beside) = measurements;
    let counted = if counted == 0 {
        options.messages
    } else {
        counted
    };
    let commands = commands()? - before;
    let same_thread = !options.other_arbiter;
    Ok(Report::new(
        options,
        (&measurement, &beside),
        cpu_time,
        same_thread.then_some(allocations / counted as f64),
        commands,
    ))
}

/// Measurement of the callers, and of the caller of `--beside`.
type Measurements = (Measurement, Measurement);

/// Runs the callers, and counts the allocations of this thread.
fn publish(system: &SystemRunner, callers: Callers) -> io::Result<(Measurements, u64)> {
    let mut measured = Err(io::Error::other("nothing was measured"));
    let allocations = allocation_counter::measure(|| measured = system.block_on(callers.publish()));
    Ok((measured?, allocations.count_total))
}

/// Runs the callers without counting allocations.
fn publish_uncounted(system: &SystemRunner, callers: Callers) -> io::Result<Measurements> {
    let mut measured = Err(io::Error::other("nothing was measured"));
    allocation_counter::opt_out(|| measured = system.block_on(callers.publish()));
    measured
}

/// Starts a producer, with `--other-arbiter` on a new arbiter, and waits until it is connected.
async fn connect(
    options: &Options,
    arbiter: Option<ArbiterHandle>,
) -> Result<ProducerHandle, PublishError> {
    let config = options.config.clone();
    let (dial, handshake) = (
        config.connection().dial_timeout(),
        config.connection().handshake_timeout(),
    );
    let producer = match &arbiter {
        Some(arbiter) => ProducerHandle::start_in_arbiter(arbiter, config),
        None => ProducerHandle::start(config),
    };
    // A little longer than the dial, so that its error is known.
    let connected = producer.wait_connected(dial + dial / 10).await;
    if let Err(error) = connected {
        if producer.stats().await?.last_error.is_some() {
            return Err(error.into());
        }
        producer.wait_connected(handshake).await?;
    }
    Ok(producer)
}

/// Starts a pool, and waits until all members are connected.
async fn connect_pool(
    config: PoolConfig,
    arbiter: Option<ArbiterHandle>,
) -> Result<ProducerHandle<ProducerPool>, Box<dyn std::error::Error>> {
    let timeout = config.connection().dial_timeout() + config.connection().handshake_timeout();
    let end = Instant::now() + timeout;
    let pool = match &arbiter {
        Some(arbiter) => ProducerHandle::start_pool_in_arbiter(arbiter, config),
        None => ProducerHandle::start_pool(config),
    };
    pool.wait_connected(timeout).await?;
    loop {
        let state = pool.state().await;
        if state.is_complete() {
            return Ok(pool);
        }
        if Instant::now() > end {
            return Err(format!("after {timeout:?} the pool has {state}").into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
