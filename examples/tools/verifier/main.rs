//! `verifier`: publishes numbered, checksummed messages to a real nsqd while it is killed,
//! terminated and frozen, and compares every result with the messages that nsqd stored.
//!
//! ```text
//! cargo run --release --example verifier -- --duration 60 --kill9-every 3
//! verifier --duration 5m --kill9-every 20 --sigstop-every 30 --proxy latency=2ms,cut-every=10s
//! verifier --rate 0 --producers 1 --topics 1 --batches 0   # maximum rate of single publishes
//! verifier --duration 60 --sigterm-every 3 --consume       # with consumers
//! verifier --duration 5 --sabotage duplicate               # must fail
//! ```
//!
//! * It starts an nsqd with flags under which a message with `OK` survives a kill -9. It needs the
//!   program nsqd, or Go to build it. Without `--consume`, messages are consumed only at the end,
//!   because a killed nsqd can lose messages that are in flight to a consumer.
//! * Every message has a number and a checksum, and every result is recorded.
//! * At the end a plain consumer, which shares no code with the crate, reads all messages. A
//!   message is `lost` if its result is ok and it is not stored, `duplicate` if it is stored more
//!   than once, `misattributed` if its result is not written and it is stored, `corrupt` if it is
//!   stored with other bytes, and `unanswered` if it has no result a second after its timeout.
//! * With `--consume`, consumers of the crate take the messages while faults are injected. A
//!   message is then `lost` if a consumer has received it whole and none has handled it. A kill may
//!   also lose what nsqd had in flight, and one message that moves to the channel; SIGTERM one that
//!   nsqd was about to send.
//! * With `--proxy corrupt-up=...` a run must fail: NSQ has no checksum, so nsqd accepts changed
//!   bytes.
//! * `--log` writes every result, every fault, and every violation to a file.
//! * A fault is injected while publishes are in flight, and the report counts them. They, and those
//!   that are sent before the client notices the fault, may become maybe written. A fault without
//!   publishes in flight is a failure.
//! * Exit codes: 0 clean; 1 a wrong result, or faults that prove nothing; 2 wrong command line; 3
//!   no result; 4 only the rate is below the required one. SIGINT and SIGTERM end the publishing,
//!   and the results so far are verified; a second signal ends the program with code 3.
//! * The same seed repeats the sizes, the commands and the times of the faults, but not the timing
//!   of the machine.
//!
//! The `load` publishes in an open loop; the `fault_injector` follows a `schedule` in a separate
//! thread; both use one `tracker`. The `drain` compares the record, which the tests of the crate
//! use too, with the messages in nsqd; the `report` prints the result.

#[path = "../shared/arguments.rs"]
mod arguments;
mod consumers;
mod drain;
mod fault_injector;
mod load;
#[path = "../shared/name_and_value.rs"]
mod name_and_value;
mod options;
mod outages;
#[path = "../shared/producer_opt.rs"]
mod producer_opt;
mod report;
mod schedule;
#[path = "../shared/signal.rs"]
mod signal;
mod support;
mod tracker;
mod violation;
mod watchdog;

use std::{
    io::{self, Write},
    process::{self, ExitCode},
    sync::Arc,
    time::{Duration, Instant},
};

use actix_nsq::actix::System;
use fastrand::Rng;
use tokio::time::sleep;

use self::{
    consumers::{Consumed, Consumers},
    fault_injector::FaultInjector,
    load::Load,
    options::Options,
    report::{Report, print_line},
    schedule::Fault,
    support::{chaos::ChaosProxy, nsqd_program::Nsqd, real_nsqd::RealNsqd},
    tracker::Tracker,
    violation::Violation,
    watchdog::{NO_RESULT, Watchdog},
};

/// Timeout of starting nsqd, which is built first if necessary.
const START_TIMEOUT: Duration = Duration::from_secs(300);

/// Timeout of a stage, in addition to its expected duration.
const STAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Interval at which the fault injector is checked.
const POLL: Duration = Duration::from_millis(20);

/// Minimum throughput of the consumer at the end.
const DRAINED_PER_SECOND: u64 = 1_000;

fn main() -> ExitCode {
    let options = Options::from_command_line();
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    print_line(format_args!("seed {seed}"));
    match run(&options, seed) {
        Ok(code) => code.into(),
        Err(error) => {
            print_line(format_args!("no result: {error} (seed {seed})"));
            NO_RESULT.into()
        }
    }
}

/// Runs the verification, prints the report, and returns the exit code.
fn run(options: &Options, seed: u64) -> io::Result<u8> {
    let watchdog = Watchdog::start("starting nsqd", START_TIMEOUT);
    let mut rng = Rng::with_seed(seed);
    let flags = Violation::nsqd_flags(options.sabotage);
    let nsqd = match &options.nsqd {
        Some(program) => {
            let nsqd = Nsqd::at(program.clone()).map_err(io::Error::other)?;
            RealNsqd::start_program(nsqd, None, flags)?
        }
        None => RealNsqd::start(flags)?,
    };
    let proxy = options.proxy.clone();
    let proxy = proxy.map(|faults| ChaosProxy::start(nsqd.address(), faults, rng.u64(..)));
    let proxy = proxy.transpose()?;
    let address = proxy.as_ref().map(|proxy| proxy.address().to_string());
    let address = address.unwrap_or_else(|| nsqd.address());

    let published = System::new().block_on(publish(options, &watchdog, nsqd, &address, rng))?;
    let Published {
        mut nsqd,
        tracker,
        consumed,
        duration,
        interrupted,
    } = published;
    drop(proxy);
    if let Some(violation) = options.sabotage {
        violation.commit(&tracker, &Options::topic(0), &nsqd)?;
    }
    let mut result = tracker.finish();
    let expected = Duration::from_secs(result.progress.offered / DRAINED_PER_SECOND);
    watchdog.stage("consuming the messages", expected + STAGE_TIMEOUT);
    let started = Instant::now();
    let record = std::mem::take(&mut result.record);
    let kills = result.count(Fault::Kill9);
    let stops = result.count(Fault::Sigterm);
    let (audit, consumed) = match consumed {
        Some(consumed) => {
            let (audit, consumed) = consumed.compare(record, kills, stops);
            (audit, Some(consumed))
        }
        None => (drain::drain(&mut nsqd, record)?, None),
    };
    print_line(format_args!(
        "consumed {} messages in {:.1} s",
        audit.stored,
        started.elapsed().as_secs_f64()
    ));
    if let Some(log) = &options.log {
        report::complete_log(log, &audit)?;
    }
    let report = Report {
        options,
        seed,
        result: &result,
        audit: &audit,
        consumed: consumed.as_ref(),
        duration,
        interrupted,
    };
    // The exit code does not depend on a reader.
    let _ = write!(io::stdout(), "{report}");
    Ok(report.exit_code())
}

/// The state after the load.
struct Published {
    nsqd: RealNsqd,
    tracker: Arc<Tracker>,
    /// With `--consume`.
    consumed: Option<Consumed>,
    /// Time from the first message to the last result.
    duration: Duration,
    interrupted: bool,
}

/// Publishes while faults are injected, until `--duration` is over and every publish has a result.
async fn publish(
    options: &Options,
    watchdog: &Watchdog,
    nsqd: RealNsqd,
    address: &str,
    mut rng: Rng,
) -> io::Result<Published> {
    watchdog.stage("connecting", STAGE_TIMEOUT);
    let tracker = Arc::new(Tracker::new(options)?);
    let load = Load::start(options, address, Arc::clone(&tracker), rng.fork()).await?;
    let consumers = if options.consume {
        Some(Consumers::start(options, address).await?)
    } else {
        None
    };

    let expected = options.duration + options.freeze;
    watchdog.stage("publishing", expected + STAGE_TIMEOUT);
    let started = tracker.now();
    let injector = FaultInjector::start(nsqd, options, Arc::clone(&tracker), rng.fork())?;
    let failed = async {
        while !injector.has_ended() {
            sleep(POLL).await;
        }
    };
    let terminated = signal::terminated(|| {
        print_line(format_args!("interrupted before the results were verified"));
        process::exit(NO_RESULT.into())
    })?;
    let interrupted = tokio::select! {
        never = load.publish() => never,
        never = report::show_progress(&tracker) => never,
        () = sleep(options.duration) => false,
        () = failed => false,
        () = terminated => true,
    };
    if interrupted {
        print_line(format_args!("interrupted: verifying the results so far"));
    }
    let published = tracker.now();
    injector.stop();
    while !injector.has_ended() {
        sleep(POLL).await;
    }
    let nsqd = injector.into_nsqd()?;

    let stage = "waiting for the last results";
    watchdog.stage(stage, load.max_latency() + STAGE_TIMEOUT);
    load.settle().await;
    let duration = published.max(tracker.progress().last_result) - started;
    load.stop().await?;
    let consumed = match consumers {
        Some(consumers) => {
            watchdog.stage(
                "consuming the messages",
                consumers.timeout() + STAGE_TIMEOUT,
            );
            Some(consumers.finish(&nsqd).await?)
        }
        None => None,
    };
    Ok(Published {
        nsqd,
        tracker,
        consumed,
        duration,
        interrupted,
    })
}
