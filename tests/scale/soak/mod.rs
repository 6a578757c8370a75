//! Publishes and consumes at a steady rate while connections are reset, and nsqds are frozen and
//! restarted. Afterwards every publish has a result, every message with `Ok` was handled, and
//! memory, descriptors and threads have not grown.
//!
//! A minute with `FULL=1`, or as long as `SOAK_SECONDS` says. nsqds and proxies are other
//! processes. What is kept for each message is dropped when it is settled.

mod clients;
mod faults;
mod ledger;
mod samples;

use std::io;
use std::time::{Duration, Instant};

use actix_nsq::actix::System;
use actix_nsq::bytes::Bytes;
use actix_nsq::{DeferredPublish, MultiPublish, Publish};
use tokio::time::interval;

use self::clients::{Clients, TOPICS, topic};
use self::faults::Faults;
use self::ledger::{Counts, Ledger};
use self::samples::Samples;
use crate::measure::{Figure, grown};
use crate::support::full;
use crate::support::wait::{self, PATIENCE};

/// Publishes per second.
const RATE: f64 = if cfg!(debug_assertions) {
    2_000.0
} else {
    5_000.0
};

/// Interval at which publishes start together.
const TICK: Duration = Duration::from_millis(10);

/// Delay of a deferred publish.
const DELAY: Duration = Duration::from_millis(50);

/// Maximum number of publishes without a result.
const MAX_OUTSTANDING: usize = 50_000;

/// Of this number of publishes one is a batch, and one is deferred.
const RARE: u64 = 100;

/// No message comes for this time, which is longer than the message timeout: none will.
const QUIET: Duration = Duration::from_secs(10);

/// How long to publish; `None`: not at all.
pub fn duration() -> Option<Duration> {
    let seconds = std::env::var("SOAK_SECONDS").ok();
    let seconds = seconds.map(|it| it.parse().expect("SOAK_SECONDS is a number"));
    let default = full().then_some(60);
    seconds.or(default).map(Duration::from_secs)
}

pub fn run() -> io::Result<Vec<Figure>> {
    let (faults, system) = (Faults::new()?, System::new());
    let mut outcome = None;
    let [left, _] = grown(|| outcome = Some(system.block_on(soak(faults))));
    let mut figures = outcome.expect("it ran")?;
    figures.push(("soak", "heap left, bytes", left));
    Ok(figures)
}

async fn soak(faults: Faults) -> io::Result<Vec<Figure>> {
    let duration = duration().unwrap_or_default().max(samples::SHORTEST);
    let (ledger, mut samples, before) = (Ledger::default(), Samples::default(), samples::now());
    let clients = Clients::start(&faults.addresses(), &ledger).await;
    let (faults, begun) = (faults.start(), Instant::now());
    let mut ticks = interval(TICK);
    let mut turn = 0;
    while begun.elapsed() < duration {
        ticks.tick().await;
        let due = (RATE * begun.elapsed().as_secs_f64()) as u64;
        while turn < due && ledger.outstanding() < MAX_OUTSTANDING {
            publish(&clients, &ledger, turn);
            turn += 1;
        }
        ledger.sweep();
        samples.take(begun.elapsed());
    }
    let rate = turn as f64 / begun.elapsed().as_secs_f64();
    faults.stop();
    while ledger.outstanding() > 0 || !faults.has_ended() {
        ticks.tick().await;
        ledger.sweep();
    }
    let (faults, injected) = faults.end()?;
    while ledger.unhandled() > 0 && ledger.quiet() < QUIET {
        ticks.tick().await;
    }
    let unhandled = ledger.unhandled();
    let lost = clients.end().await;
    // Actors stop, and sockets are closed, a moment later.
    wait::comes_to_hold(PATIENCE, || {
        !ledger.is_shared() && samples::now()[1] <= before[1]
    })
    .await;
    let [_, descriptors_left, threads_left] = samples::growth(before, samples::now());
    drop(faults);

    eprintln!("{:?}, {unhandled} ok and not handled", ledger.counts());
    eprintln!(
        "{injected:?}, {lost} connections lost in {:.0?}",
        begun.elapsed()
    );
    let [memory, descriptors, threads] = samples.growth();
    let Counts {
        misattributed,
        unanswered,
        corrupt,
        ..
    } = ledger.counts();
    // nsqd itself may lose a message of each channel that it is about to send when it is stopped.
    let lost_by_nsqd = injected.restarts * TOPICS;
    let figures = [
        ("share of the rate", rate / RATE),
        (
            "connections lost per minute",
            lost as f64 * 60.0 / duration.as_secs_f64(),
        ),
        ("without a result", unanswered as f64),
        (
            "ok and not handled",
            unhandled.saturating_sub(lost_by_nsqd) as f64,
        ),
        ("not written, and handled", misattributed as f64),
        ("handled with another body", corrupt as f64),
        ("growth of memory, kB", memory),
        ("growth of descriptors", descriptors),
        ("growth of threads", threads),
        ("descriptors left", descriptors_left),
        ("threads left", threads_left),
    ];
    Ok(figures
        .map(|(figure, value)| ("soak", figure, value))
        .into())
}

/// Publishes a message, or a few, with the next publisher to the next topic.
fn publish(clients: &Clients, ledger: &Ledger, turn: u64) {
    let topic = topic(turn as usize % TOPICS);
    let count = if turn.is_multiple_of(RARE) { 3 } else { 1 };
    let (numbers, mut bodies): (Vec<u64>, Vec<Bytes>) = (0..count).map(|_| ledger.offer()).unzip();
    let publish = match turn % RARE {
        0 => MultiPublish::new(topic, bodies).into(),
        1 => DeferredPublish::new(topic, DELAY, bodies.remove(0)).into(),
        _ => Publish::new(topic, bodies.remove(0)).into(),
    };
    let (result, ledger) = (clients.publisher(turn)(publish), ledger.clone());
    actix_rt::spawn(async move {
        let result = result.await;
        for number in numbers {
            ledger.answered(number, &result);
        }
    });
}
