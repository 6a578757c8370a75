//! Random model of the whole producer: callers that publish, cancel and drain; an nsqd that
//! responds, rejects, stalls and dies; sockets that take any part of a write; virtual time. The
//! contract is checked after every step.
//!
//! The producer with its reader and writer is real. Sockets are in memory (`network`). The
//! simulated nsqd parses the real bytes (`command`, `nsqd`) and knows what it has stored. Each
//! answer is compared with that (`truth`), events with what happened (`path`), statistics with what
//! was observed (`look`), and the end with what may be left (`stopping`).
//!
//! ```sh
//! cargo test --test model                               # MODEL_SCHEDULES=10000
//! MODEL_SCHEDULES=200000 cargo test --release --test model -- --nocapture
//! MODEL_SEED=123 cargo test --test model                # one schedule, step by step
//! ```
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod asks;
mod batching;
#[path = "../support/command.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with other test binaries")]
mod command;
mod dials;

mod line;
mod look;
mod network;
mod notes;
mod nsqd;
mod path;
mod publish;
#[path = "../support/record.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with other test binaries")]
mod record;
mod setup;
mod steps;
mod stopping;
mod transcript;
mod truth;
mod world;

use std::{
    collections::BTreeMap,
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{runtime::Builder, task::LocalSet, time::timeout};

use self::world::{Count, TRACE, World};

/// Schedules that are played by default.
const SCHEDULES: u64 = 10_000;

/// Each transition happens at least once in this many schedules, or they show nothing.
const SELDOM: u64 = 20;

/// Transitions of the producer's state machine, and outcomes of publishes.
const TRANSITIONS: &[&str] = &[
    "OK",
    "a batch is lost",
    "rejected batch: E_AUTH_FAILED",
    "rejected batch: E_BAD_BODY",
    "rejected batch: E_BAD_MESSAGE",
    "rejected batch: E_BAD_TOPIC",
    "rejected batch: E_MPUB_FAILED",
    "rejected batch: E_SHINY",
    "rejected batch: E_UNAUTHORIZED",
    "rejected batch: slow upload",
    "a batch is written",
    "a batch is written again",
    "a batch skips a cancelled publish",
    "a denied topic is remembered",
    "a drain begins: backing off",
    "a drain begins: connecting",
    "a drain begins: idle",
    "a drain begins: up",
    "backing off -> connecting",
    "backing off -> connecting, requested",
    "backing off -> drained",
    "cancelled",
    "cancelled in time",
    "connecting -> backing off: absurd frame",
    "connecting -> backing off: auth",
    "connecting -> backing off: handshake closed",
    "connecting -> backing off: handshake invalid",
    "connecting -> backing off: handshake rejected",
    "connecting -> backing off: handshake reset",
    "connecting -> backing off: handshake timeout",
    "connecting -> backing off: http",
    "connecting -> backing off: rejected",
    "connecting -> backing off: timeout",
    "connecting -> drained",
    "connecting -> up",
    "a member of a rejected batch is retried alone",
    "ended: backing off",
    "ended: connecting",
    "ended: drained",
    "ended: idle",
    "ended: up",
    "executed after the end",
    "half a batch is lost",
    "idle -> connecting",
    "idle -> drained",
    "lost -> backing off soon",
    "lost -> backing off with growing delays",
    "lost -> connecting, requested",
    "more follows an error response",
    "batching is suspended",
    "one OK for a batch",
    "retried",
    "retried, may be stored",
    "stored twice",
    "answered ConnectionLost MaybePartial",
    "answered ConnectionLost MaybeWritten",
    "answered Full NotWritten",
    "answered Rejected(MpubFailed) MaybeWritten",
    "answered Rejected(Unknown) MaybeWritten",
    "answered Timeout MaybeWritten",
    "answered Timeout NotWritten",
    "up -> drained",
    "up -> lost: AckTimeout",
    "up -> lost: ClosedByPeer",
    "up -> lost: HttpServer",
    "up -> lost: Io",
    "up -> lost: UnexpectedResponse",
    "up -> lost: Protocol",
    "up -> lost: Rejected",
    "up -> lost: HeartbeatTimeout",
    "up -> lost: ClosedLocally",
    "up -> lost: WriteTimeout",
];

/// contract: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
/// fault: X1
#[test]
fn the_delivery_contract_holds_whatever_happens() {
    if let Some(seed) = number("MODEL_SEED") {
        println!("{}", play_for_people(seed));
        return;
    }
    let schedules = number("MODEL_SCHEDULES").unwrap_or(SCHEDULES);
    let began = Instant::now();
    let counts = play_all(schedules);
    let seldom: Vec<_> = TRANSITIONS
        .iter()
        .filter(|what| {
            counts
                .get(**what)
                .is_none_or(|count| *count < schedules / SELDOM)
        })
        .collect();
    let counts: Vec<String> = counts
        .iter()
        .map(|(what, count)| format!("{count:>9} {what}"))
        .collect();
    println!(
        "{schedules} schedules in {:.1?}:\n{}",
        began.elapsed(),
        counts.join("\n")
    );
    // Fewer schedules need not show everything.
    assert!(
        schedules < SCHEDULES || seldom.is_empty(),
        "seldom: {seldom:?}"
    );
}

/// Plays schedules on all processors, and returns how often each event happened.
fn play_all(schedules: u64) -> BTreeMap<String, u64> {
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let failures = Mutex::new(Vec::new());
    let counts = Mutex::new(BTreeMap::<String, u64>::new());
    let processors = std::thread::available_parallelism().map_or(2, |count| count.get());
    std::thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                let mut own = Count::default();
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= schedules {
                        break;
                    }
                    match catch_unwind(|| play(seed)) {
                        Ok(count) => count.0.into_iter().for_each(|(what, times)| {
                            *own.0.entry(what).or_default() += times;
                        }),
                        Err(_) => {
                            failed.store(true, Ordering::Relaxed);
                            failures.lock().unwrap().push(seed);
                        }
                    }
                }
                let mut counts = counts.lock().unwrap();
                for (what, times) in own.0 {
                    *counts.entry(what).or_default() += times;
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    if let Some(seed) = failures.iter().min() {
        println!("{}", play_for_people(*seed));
        panic!("schedule {seed} fails; MODEL_SEED={seed} plays it again");
    }
    counts.into_inner().unwrap()
}

/// Plays a schedule with a trace of its steps, and fails if it fails.
fn play_for_people(seed: u64) -> String {
    TRACE.set(Some(Vec::new()));
    let outcome = catch_unwind(AssertUnwindSafe(|| play(seed)));
    let trace = TRACE.take().unwrap_or_default().join("\n");
    if outcome.is_err() {
        println!("{trace}");
        panic!("schedule {seed} fails; MODEL_SEED={seed} plays it again");
    }
    trace
}

/// Plays the schedule of a seed.
fn play(seed: u64) -> Count {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a small runtime");
    let tasks = LocalSet::new();
    let count = runtime.block_on(tasks.run_until(async {
        let mut world = World::new(seed);
        // Some end early.
        let most = if world.rng.u32(0..3) == 0 { 2 } else { 90 };
        let steps = world.rng.u32(0..most);
        for _ in 0..steps {
            world.step().await;
        }
        world.end().await;
        world.count
    }));
    runtime.block_on(async {
        let ended = timeout(Duration::from_secs(86_400), tasks).await;
        ended.expect("all tasks end");
    });
    count
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(e) => panic!("{variable}={text} is no number: {e}"),
    }
}
