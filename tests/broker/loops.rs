//! Loops: nsqd is killed, asked to end, and frozen, again and again, each time with publishes in flight. Afterwards what was
//! answered is held against what nsqd has.
//!
//! The full form, with its figures:
//!
//! ```text
//! LOOPS=20 cargo test --test broker -- loops --test-threads 1
//! ```

use std::time::{Duration, Instant};

use actix_nsq::ProducerConfigBuilder;
use actix_nsq::actix::Addr;
use actix_nsq::{Producer, producer::Stats};

use super::load::{config, start};
use super::recorded::{RecordedLoad, Waits, is_time_out, of_many_sizes, stats_once};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind};
use crate::support::real_nsqd::RealNsqd;

/// Why no other.
const REAL_ONLY: &str = "it is about a program that is sent signals";
const LONGEST: Duration = Duration::from_secs(900);

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        killed_in_a_loop_every_ok_is_stored_and_nothing_else_is_said_to_be
            .only(Kind::Real, REAL_ONLY)
            .within(LONGEST),
        asked_to_end_in_a_loop_every_ok_is_stored_and_nothing_else_is_said_to_be
            .only(Kind::Real, REAL_ONLY)
            .within(LONGEST),
        frozen_in_a_loop_for_longer_than_two_heartbeats_every_answer_is_true
            .only(Kind::Real, REAL_ONLY)
            .within(LONGEST),
        frozen_in_a_loop_for_shorter_than_two_heartbeats_nothing_is_lost
            .only(Kind::Real, REAL_ONLY)
            .within(LONGEST),
    ]
}

const HEARTBEAT: Duration = Duration::from_secs(1);
/// Longer than two heartbeat intervals, after which both sides give a connection up, and clearly shorter.
const LONG_FREEZE: Duration = Duration::from_millis(2_500);
const SHORT_FREEZE: Duration = Duration::from_millis(600);

/// The longest wait before an attempt to connect.
const BACKOFF: Duration = Duration::from_millis(200);
/// What a busy machine may add to it until the handshake is done.
const NOISE: Duration = Duration::from_secs(3);

/// What is run through every loop.
const VARIANTS: &[Variant] = &[
    Variant {
        name: "window_1",
        window: 1,
        callers: 64,
        batching: false,
    },
    Variant {
        name: "window_64",
        window: 64,
        callers: 256,
        batching: false,
    },
    Variant {
        name: "window_1000",
        window: 1_000,
        callers: 3_000,
        batching: false,
    },
    Variant {
        name: "batches_64",
        window: 64,
        callers: 256,
        batching: true,
    },
    Variant {
        name: "batches_1000",
        window: 1_000,
        callers: 3_000,
        batching: true,
    },
];

struct Variant {
    name: &'static str,
    /// So many publishes at most are in flight, and may be lost with a connection.
    window: usize,
    callers: usize,
    batching: bool,
}

impl Variant {
    fn options(&self, config: ProducerConfigBuilder) -> ProducerConfigBuilder {
        config.publish_window(self.window).auto_batch(self.batching)
    }
}

/// What strikes, and what comes of it.
struct Fault {
    name: &'static str,
    strike: fn(&mut RealNsqd),
    ends_connections: bool,
    /// nsqd may answer what has come before it ends: all of it, where that is a few commands with much in each.
    may_spare_batches: bool,
}

/// contract: 1, 2
/// fault: P21
async fn killed_in_a_loop_every_ok_is_stored_and_nothing_else_is_said_to_be(broker: Broker) {
    let kill = Fault {
        name: "kill -9",
        strike: |nsqd| {
            nsqd.kill9().unwrap();
            nsqd.restart().unwrap();
        },
        ends_connections: true,
        may_spare_batches: false,
    };
    every_variant(&broker, &kill).await;
}

/// contract: 1
/// fault: P22
async fn asked_to_end_in_a_loop_every_ok_is_stored_and_nothing_else_is_said_to_be(broker: Broker) {
    let terminate = Fault {
        name: "SIGTERM",
        strike: |nsqd| {
            nsqd.sigterm().unwrap();
            nsqd.restart().unwrap();
        },
        ends_connections: true,
        may_spare_batches: true,
    };
    every_variant(&broker, &terminate).await;
}

/// What lies in a frozen nsqd's socket is executed long after the connection was given up.
/// contract: 1
/// fault: P22
async fn frozen_in_a_loop_for_longer_than_two_heartbeats_every_answer_is_true(broker: Broker) {
    let freeze = Fault {
        name: "SIGSTOP, long",
        strike: |nsqd| freeze(nsqd, LONG_FREEZE),
        ends_connections: true,
        may_spare_batches: false,
    };
    every_variant(&broker, &freeze).await;
}

/// contract: 1
/// fault: P22
async fn frozen_in_a_loop_for_shorter_than_two_heartbeats_nothing_is_lost(broker: Broker) {
    let freeze = Fault {
        name: "SIGSTOP, short",
        strike: |nsqd| freeze(nsqd, SHORT_FREEZE),
        ends_connections: false,
        may_spare_batches: false,
    };
    every_variant(&broker, &freeze).await;
}

fn freeze(nsqd: &RealNsqd, duration: Duration) {
    nsqd.sigstop().unwrap();
    // The fault itself is a time.
    std::thread::sleep(duration);
    nsqd.sigcont().unwrap();
}

/// How often each fault strikes.
fn cycles() -> usize {
    std::env::var("LOOPS").map_or(2, |times| times.parse().expect("LOOPS is a number"))
}

async fn every_variant(broker: &Broker, fault: &Fault) {
    for variant in VARIANTS {
        run(broker, fault, variant).await;
    }
}

async fn run(broker: &Broker, fault: &Fault, variant: &Variant) {
    let cycles = cycles();
    let config = config(broker).await.heartbeat_interval(HEARTBEAT);
    let config = config.max_reconnect_backoff(BACKOFF);
    let producer = start(variant.options(config));
    let waits = Waits::of(&producer).await;
    let mut load = RecordedLoad::start(&producer, variant.callers, variant.name, of_many_sizes);
    let mut strikes = Vec::new();
    for cycle in 1..=cycles {
        load.until_more_ok(variant.callers).await;
        let before = load.maybe();
        strikes.push(strike(broker, fault, &producer, &load, cycle as u64).await);
        // A single one may just be answered before the fault strikes.
        let spared = variant.window == 1 || (variant.batching && fault.may_spare_batches);
        let flew = load.maybe() > before || spared;
        assert!(
            flew || !fault.ends_connections,
            "{}: nothing flew",
            fault.name
        );
    }
    load.until_more_ok(variant.callers).await;
    load.cease().await;
    let batches = stats_once(&producer, "it answers", |_| true).await.batches;
    assert_eq!(batches > 0, variant.batching, "{}: {batches}", variant.name);

    let (name, maybe) = (format!("{}, {}", fault.name, variant.name), load.maybe());
    let hung = load.errors().iter().filter(|e| is_time_out(e)).count();
    assert_eq!(hung, 0, "{name}: publishes that ended by their time only");
    assert!(waits.longest() <= BACKOFF, "{name}: {:?}", waits.longest());
    if fault.ends_connections {
        assert!(maybe <= cycles * variant.window, "{name}: {maybe} lost");
    } else {
        assert_eq!((maybe, waits.count()), (0, 0), "{name}");
    }
    let longest = load.longest();
    let verdict = load.judge(broker).await;
    if std::env::var_os("LOOPS").is_some() {
        let (in_flight, back): (Vec<_>, Vec<_>) = strikes.into_iter().unzip();
        let back = back.into_iter().max().unwrap_or_default();
        eprintln!(
            "{name}: {cycles} cycles, in flight {in_flight:?}; at worst back {back:?} after its return, an Ok after \
             {longest:?}\n{verdict}"
        );
    }
    verdict.assert_clean();
    assert_eq!(verdict.not_written, 0, "{name}: {verdict}");
}

/// Strikes while publishes are in flight: how many were, and how long it took after the fault until publishes flowed again.
async fn strike(
    broker: &Broker,
    fault: &Fault,
    producer: &Addr<Producer>,
    load: &RecordedLoad,
    cycle: u64,
) -> (usize, Duration) {
    let flies = |stats: &Stats| stats.in_flight > 0;
    let stats = stats_once(producer, "publishes are in flight", flies).await;
    assert!(load.outstanding() >= stats.in_flight);
    let fault_strikes = fault.strike;
    broker.real().with_nsqd(fault_strikes).await;
    let over = Instant::now();
    let connections = if fault.ends_connections { cycle + 1 } else { 1 };
    let is_back = move |stats: &Stats| stats.connects == connections;
    stats_once(producer, "the producer is connected again", is_back).await;
    let back = over.elapsed();
    load.until_more_ok(1).await;
    let limit = BACKOFF + NOISE;
    assert!(back < limit, "connected only {back:?} after nsqd was back");
    (stats.in_flight, back)
}
