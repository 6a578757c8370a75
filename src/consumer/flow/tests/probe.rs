//! Backoff: nothing, then one message at a time.

use super::*;

impl Bench {
    /// All messages have ended, one of them with a failure.
    fn in_backoff(connections: u32) -> Self {
        let mut bench = Self::new(10, connections);
        bench.plan();
        bench.fails(0);
        bench.plan();
        bench
    }

    /// A message that is started now ends so.
    fn ends(&mut self, outcome: Outcome) -> bool {
        let window = self.flow.window();
        self.flow.outcome(window, outcome, 1.0, self.now)
    }

    /// A message of this connection arrives and fails. Nothing is held afterwards.
    fn fails(&mut self, nsqd: u32) {
        self.received(nsqd, 1);
        self.plan();
        assert!(self.ends(Outcome::Failure));
        self.answered(nsqd, 1);
    }
}

/// fault: C8
#[test]
fn failure_stops_all_and_one_message_is_a_probe() {
    let mut bench = Bench::new(10, 2);
    bench.plan();
    bench.fails(0);
    assert_eq!(bench.plan(), [(0, 0), (1, 0)]);
    assert_eq!(bench.passes(ms(1_999)), []);
    assert_eq!(bench.passes(ms(1)), [(0, 1)]);
    bench.received(0, 1);
    assert_eq!(bench.plan(), []);
    assert_eq!(bench.passes(ms(10_000)), [], "its handler still runs");
    assert!(bench.ends(Outcome::Success));
    bench.answered(0, 1);
    assert_eq!(bench.flow.backoff(), BackoffState::Off);
    bench.plan();
    bench.passes(ms(200));
    assert_eq!(bench.rdys().iter().sum::<u32>(), 10);
}

#[test]
fn success_and_failure_of_probes_move_the_level() {
    let mut bench = Bench::in_backoff(1);
    for (wait, outcome, level) in [
        (2, Outcome::Failure, 2),
        (4, Outcome::Failure, 3),
        (8, Outcome::Success, 2),
        (4, Outcome::Success, 1),
    ] {
        assert_eq!(bench.passes(ms(wait * 1_000 - 1)), []);
        assert_eq!(bench.passes(ms(1)), [(0, 1)]);
        bench.received(0, 1);
        bench.ends(outcome);
        bench.answered(0, 1);
        assert_eq!(bench.plan(), [(0, 0)], "lowered before the answer");
        assert_eq!(bench.flow.backoff_level(), level);
    }
    bench.passes(ms(2_000));
    bench.received(0, 1);
    bench.ends(Outcome::Success);
    bench.answered(0, 1);
    assert_eq!(bench.plan(), [(0, 10)]);
}

#[test]
fn probe_without_message_moves_on_when_settled() {
    let mut bench = Bench::in_backoff(3);
    assert_eq!(bench.passes(ms(2_000)), [(0, 1)]);
    assert_eq!(bench.passes(ms(50)), [(0, 0)]);
    // An event meanwhile: a message may still be on the wire.
    bench.flow.set_max(10);
    assert_eq!(bench.plan(), []);
    assert_eq!(bench.passes(SETTLED - ms(1)), []);
    assert_eq!(bench.passes(ms(1)), [(1, 1)]);
}

#[test]
fn message_that_comes_after_the_turn_is_the_probe() {
    let mut bench = Bench::in_backoff(2);
    assert_eq!(bench.passes(ms(2_050)), [(0, 1), (0, 0)]);
    bench.received(0, 1);
    assert_eq!(bench.plan(), []);
    assert_eq!(bench.passes(ms(10_000)), []);
    assert!(!bench.ends(Outcome::Neutral));
    bench.answered(0, 1);
    assert_eq!(bench.plan(), [(1, 1)]);
}

/// nsqd may have requeued one of the held messages, and sent another before it read RDY 0.
#[test]
fn probe_waits_for_settle_time_although_bound_is_held() {
    let mut options = options(10);
    options.backoff.multiplier = ms(1);
    let mut bench = Bench::new(10, 0);
    bench.flow = Flow::new(options);
    bench.flow.open(key(0), 5, ROUND_TRIP, bench.now);
    assert_eq!(bench.plan(), [(0, 5)]);
    bench.received(0, 5);
    bench.ends(Outcome::Failure);
    assert_eq!(bench.plan(), [(0, 0)]);
    bench.open(1);
    assert_eq!(bench.plan(), []);
    assert_eq!(bench.passes(SETTLED - ms(1)), []);
    assert_eq!(bench.flow.backoff(), BackoffState::Probing);
    assert_eq!(bench.passes(ms(1)), [(1, 1)]);
}

#[test]
fn connection_that_holds_a_message_is_not_probed() {
    let mut bench = Bench::new(10, 1);
    bench.plan();
    bench.received(0, 2);
    bench.plan();
    bench.ends(Outcome::Failure);
    bench.answered(0, 1);
    assert_eq!(bench.plan(), [(0, 0)]);
    assert_eq!(bench.passes(ms(60_000)), []);
    bench.answered(0, 1);
    assert_eq!(bench.plan(), [(0, 1)], "in the plan of its last answer");
}

#[test]
fn expired_message_lets_its_connection_be_probed() {
    let mut bench = Bench::new(10, 1);
    bench.plan();
    bench.received(0, 2);
    bench.plan();
    bench.ends(Outcome::Failure);
    bench.answered(0, 1);
    bench.plan();
    bench.passes(ms(60_000));
    bench.expired(0, 1);
    assert_eq!(bench.plan(), []);
    assert_eq!(bench.passes(SETTLED), [(0, 1)]);
}

/// fault: C8, G8
#[test]
fn lost_probe_is_replaced_at_once() {
    let mut bench = Bench::in_backoff(2);
    assert_eq!(bench.passes(ms(2_000)), [(0, 1)]);
    bench.flow.close(key(0));
    assert_eq!(bench.plan(), [(1, 1)]);
    bench.flow.close(key(1));
    assert_eq!(bench.plan(), []);
    let successor = ConnectionKey { nsqd: 1, serial: 1 };
    bench.flow.open(successor, 2500, ROUND_TRIP, bench.now);
    assert_eq!(bench.plan(), [(1, 1)]);
}

#[test]
fn probe_message_held_over_a_pause_stays_the_only_one() {
    let mut bench = Bench::in_backoff(2);
    assert_eq!(bench.passes(ms(2_000)), [(0, 1)]);
    bench.received(0, 1);
    bench.plan();
    bench.flow.pause();
    assert_eq!(bench.plan(), [(0, 0)]);
    bench.passes(ms(1_000));
    bench.flow.resume();
    assert_eq!(bench.plan(), [(0, 1)]);
    assert_eq!(bench.passes(ms(10_000)), []);
}

#[test]
fn answer_that_ends_a_probe_starts_the_next_one_at_once() {
    let mut bench = Bench::in_backoff(2);
    assert_eq!(bench.passes(ms(2_000)), [(0, 1)]);
    bench.received(0, 1);
    bench.plan();
    bench.flow.pause();
    bench.plan();
    bench.passes(ms(1_000));
    bench.flow.resume();
    assert_eq!(bench.plan(), [(0, 1)]);
    bench.passes(ms(1_000));
    assert!(!bench.ends(Outcome::Neutral));
    bench.answered(0, 1);
    // Its turn is long over: the next one is probed, and no event has to follow.
    assert_eq!(bench.plan(), [(0, 0), (1, 1)]);
}

/// fault: G9
#[test]
fn result_of_earlier_window_does_not_count() {
    let mut bench = Bench::new(10, 1);
    bench.plan();
    bench.received(0, 3);
    bench.plan();
    let before = bench.flow.window();
    assert!(bench.ends(Outcome::Failure));
    assert!(!bench.flow.outcome(before, Outcome::Failure, 1.0, bench.now));
    bench.answered(0, 2);
    bench.plan();
    bench.passes(ms(2_000));
    bench.answered(0, 1);
    bench.plan();
    assert_eq!(bench.flow.backoff(), BackoffState::Probing);
    assert!(!bench.flow.outcome(before, Outcome::Success, 1.0, bench.now));
    assert!(!bench.flow.outcome(before, Outcome::Failure, 1.0, bench.now));
    assert_eq!(bench.flow.backoff_level(), 1);
    assert_eq!(bench.rdys(), [1]);
}

#[test]
fn probe_without_result_is_followed_by_another_message() {
    let mut bench = Bench::in_backoff(1);
    assert_eq!(bench.passes(ms(2_000)), [(0, 1)]);
    bench.received(0, 1);
    assert!(!bench.ends(Outcome::Neutral));
    bench.answered(0, 1);
    assert_eq!(bench.plan(), []);
    assert_eq!(bench.rdys(), [1]);
}
