//! Random schedules: flow control between simulated nsqds and handlers, in simulated time.
//!
//! A schedule has 1 to 8 nsqds, links with delay, bursts of messages, lost connections, slow and
//! failing handlers, answers close to the timeout, changes of `max_in_flight` and pauses. The
//! invariants of [`checks`] are asserted at each delivery and after each plan.
//!
//! `FLOW_SCHEDULES` sets the number of schedules, `FLOW_SEED` plays a single one.

mod checks;
mod deliveries;
mod event;
mod nsqd;
mod scene;
mod timeline;
mod world;

use std::collections::BTreeMap;

use self::{scene::Scene, world::World};

/// In how many schedules each event happened.
#[derive(Debug, Default)]
struct Count {
    schedules: BTreeMap<&'static str, u64>,
    current: BTreeMap<&'static str, u64>,
}

impl Count {
    fn add(&mut self, what: &'static str) {
        *self.current.entry(what).or_default() += 1;
    }

    fn end_schedule(&mut self) {
        for what in std::mem::take(&mut self.current).into_keys() {
            *self.schedules.entry(what).or_default() += 1;
        }
    }
}

/// Each happens in at least one of a hundred schedules, or the schedules show nothing.
const OFTEN: [&str; 17] = [
    "attached to a held message",
    "backoff left",
    "backoff probe served",
    "connection lost",
    "expired in a handler",
    "expired before a handler",
    "failed again in backoff",
    "finished again",
    "held of a lost connection",
    "late answer",
    "left",
    "max lowered",
    "more held than bound",
    "paused",
    "received after leaving",
    "shares changed",
    "turn ended",
];

/// Prints which schedule failed.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the schedule that failed: FLOW_SEED={}", self.0);
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}

/// consumer contract: 4, 5, 6
/// fault: C7, C8, G1, G7, G8
#[test]
fn random_schedules_keep_the_invariants() {
    let schedules = setting("FLOW_SCHEDULES").unwrap_or(1_000);
    let single = setting("FLOW_SEED");
    let seeds = single.map_or(0..schedules, |seed| seed..seed + 1);
    let mut count = Count::default();
    let mut delivered = 0;
    for seed in seeds {
        let seed = Seed(seed);
        let mut rng = fastrand::Rng::with_seed(seed.0);
        let scene = Scene::random(&mut rng);
        if single.is_some() {
            println!("{scene:#?}");
        }
        delivered += World::new(scene, rng, &mut count).run();
        count.end_schedule();
    }
    println!("{delivered} deliveries, {:#?}", count.schedules);
    // Fewer schedules say nothing about the minimum.
    if schedules < 1000 || single.is_some() {
        return;
    }
    for what in OFTEN {
        let times = count.schedules.get(what).copied().unwrap_or_default();
        assert!(
            times >= schedules / 100,
            "{what}: only in {times} schedules"
        );
    }
}
