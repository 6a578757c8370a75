//! `verifier`: publishes numbered, checksummed messages to a real nsqd that is killed, asked to end and frozen meanwhile,
//! and holds every answer against what nsqd has at the end.
//!
//! ```text
//! cargo run --release --example verifier -- --duration 60 --kill9-every 3
//! verifier --duration 5m --kill9-every 20 --sigterm-every 15 --sigstop-every 30 --proxy latency=2ms,cut-every=10s,end=rst
//! verifier --rate 0 --producers 1 --topics 1 --batches 0       # as fast as single publishes go
//! verifier --duration 5 --sabotage duplicate                   # must fail
//! ```
//!
//! * It starts an nsqd of its own, in memory, under flags by which OK means that a kill -9 loses nothing; needs that one, or
//!   Go to build it. The consumer comes only at the end, for an nsqd that is killed may lose what is on its way to one.
//! * Every message is a caller's own, says who it is, and bears a checksum. What each caller hears is recorded.
//! * At the end a plain consumer, which shares no code with the crate, takes everything out of nsqd. Then: `lost` was
//!   answered ok and is not there; `duplicate` is there more than once; `misattributed` was answered not written and is
//!   there; `corrupt` is there and nobody published it so; `unanswered` had no answer a second after its time.
//! * With `--proxy corrupt-up=...` a trial must fail, too: NSQ has no checksum, so nsqd says OK to what was changed on its way.
//! * `--log` keeps every answer, each fault, and at the end each message that is wrong.
//! * A fault strikes at a moment when publishes are in flight, and how many is told: messages whose callers await the
//!   answer. What had been sent when it struck, and what is sent until the client notices, is then maybe written. A fault
//!   that met none in flight is a failure.
//! * Exit codes: 0 clean, 1 not clean, 2 a wrong command line, 3 no trial could be held. SIGINT and SIGTERM end the
//!   publishing early, and what was published is still verified; one that comes later ends the program, with 3.
//! * The same seed draws the same sizes, kinds of publishes and times of faults. What meets what depends on the machine.
//!
//! How it works: the [load](load) offers messages in open loop; the [striker](striker) strikes on a thread of its own,
//! by a [schedule](schedule); both write to one [board](board). The [drain](drain) and the record, which the tests of
//! the crate use too, are compared with what nsqd stored; the [report](report) tells it.

mod board;
mod drain;
mod load;
mod options;
mod outages;
#[path = "../shared/producer_opt.rs"]
mod producer_opt;
mod report;
mod sabotage;
mod schedule;
#[path = "../shared/signal.rs"]
mod signal;
mod striker;
mod support;
mod watchdog;

use std::{
    io::{self, Write},
    process::{self, ExitCode},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use actix_nsq::actix::System;
use fastrand::Rng;
use tokio::{runtime::Builder, time::sleep};

use self::{
    board::Board,
    load::Load,
    options::Options,
    report::{Report, say},
    sabotage::Sabotage,
    striker::Striking,
    support::{chaos::ChaosProxy, real_nsqd::RealNsqd},
    watchdog::{NO_TRIAL, Watchdog},
};

/// Building nsqd takes a while, once.
const START: Duration = Duration::from_secs(300);

/// What the last fault may take beyond the load's time, or any other single thing of the trial.
const LEEWAY: Duration = Duration::from_secs(60);

/// How often the striker is looked after.
const LOOK: Duration = Duration::from_millis(20);

/// The consumer takes more than so many messages in a second.
const DRAINED_PER_SECOND: u64 = 1_000;

fn main() -> ExitCode {
    let options = Options::from_command_line();
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    say(format_args!("seed {seed}"));
    match hold(&options, seed) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(format_args!("no trial: {error} (seed {seed})"));
            NO_TRIAL.into()
        }
    }
}

/// Holds the trial, tells what came of it, and returns whether it is clean.
fn hold(options: &Options, seed: u64) -> io::Result<bool> {
    let watchdog = Watchdog::start("starting nsqd", START);
    let mut rng = Rng::with_seed(seed);
    let flags = Sabotage::flags(options.sabotage);
    let nsqd = match &options.nsqd {
        Some(program) => RealNsqd::start_program(program, None, flags)?,
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
        board,
        took,
        interrupted,
    } = published;
    drop(proxy);
    if let Some(sabotage) = options.sabotage {
        sabotage.commit(&board, &Options::topic(0), &nsqd)?;
    }
    let mut outcome = board.close();
    let longest = Duration::from_secs(outcome.progress.offered / DRAINED_PER_SECOND) + LEEWAY;
    watchdog.stage("emptying nsqd", longest);
    let began = Instant::now();
    let audit = drain::drain(&mut nsqd, std::mem::take(&mut outcome.record))?;
    say(format_args!(
        "{} messages were taken out of nsqd in {:.1} s",
        audit.stored,
        began.elapsed().as_secs_f64()
    ));
    if let Some(log) = &options.log {
        report::complete_log(log, &audit)?;
    }
    let report = Report {
        options,
        seed,
        outcome: &outcome,
        audit: &audit,
        took,
        interrupted,
    };
    // When nobody reads it, the exit code still tells.
    let _ = write!(io::stdout(), "{report}");
    Ok(report.failures().is_empty())
}

/// What is left when the publishing is over.
struct Published {
    nsqd: RealNsqd,
    board: Arc<Board>,
    /// From the first message to the last answer.
    took: Duration,
    interrupted: bool,
}

/// Publishes while nsqd is struck, until the time is over and everything is answered.
async fn publish(
    options: &Options,
    watchdog: &Watchdog,
    nsqd: RealNsqd,
    address: &str,
    mut rng: Rng,
) -> io::Result<Published> {
    watchdog.stage("connecting", LEEWAY);
    let board = Arc::new(Board::new(options)?);
    let load = Load::start(options, address, Arc::clone(&board), rng.fork()).await?;

    watchdog.stage("publishing", options.duration + options.freeze + LEEWAY);
    let began = board.now();
    let striking = Striking::begin(nsqd, options, Arc::clone(&board), rng.fork())?;
    let failed = async {
        while !striking.has_ended() {
            sleep(LOOK).await;
        }
    };
    let terminated = signal::terminated()?;
    let interrupted = tokio::select! {
        never = load.publish() => never,
        never = report::keep_current(&board) => never,
        () = sleep(options.duration) => false,
        () = failed => false,
        _ = terminated => true,
    };
    end_at_a_signal()?;
    if interrupted {
        say(format_args!("the publishing ends early"));
    }
    let published = board.now();
    striking.ask_to_end();
    while !striking.has_ended() {
        sleep(LOOK).await;
    }
    let nsqd = striking.end()?;

    watchdog.stage(
        "waiting for the last answers",
        load.longest_answer() + LEEWAY,
    );
    load.settle().await;
    let took = published.max(board.progress().last_answer) - began;
    load.stop().await?;
    Ok(Published {
        nsqd,
        board,
        took,
        interrupted,
    })
}

/// Ends the program at a signal from now on; on a thread of its own, since emptying nsqd blocks this one, and takes long.
fn end_at_a_signal() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let signal = {
        let _entered = runtime.enter();
        signal::terminated()?
    };
    thread::spawn(move || {
        let _ = runtime.block_on(signal);
        say(format_args!("ended before what was published is verified"));
        process::exit(NO_TRIAL.into());
    });
    Ok(())
}
