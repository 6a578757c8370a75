//! What is counted: what the end of a connection meant, what waits and what flies, how long an `Ok` took.

use super::*;

fn settlement(resent: usize, unknown: usize) -> DisconnectOutcome {
    DisconnectOutcome {
        requeued: resent,
        maybe_written: unknown,
    }
}

/// What waits and what flies are, together, what is held.
#[track_caller]
fn assert_adds_up(bench: &mut Bench, waiting: (usize, usize), flying: (usize, usize)) {
    let seen = |load: Usage| (load.publishes, load.bytes);
    assert_eq!(seen(bench.queue().queued()), waiting, "waiting");
    assert_eq!(seen(bench.queue().in_flight()), flying, "flying");
    let held = (waiting.0 + flying.0, waiting.1 + flying.1);
    assert_eq!(bench.held(), held, "held");
}

/// checklist: 103, 104, 105
#[test]
fn what_waits_and_what_flies_are_what_is_held() {
    let mut bench = Bench::with(Limits {
        window: Usage {
            publishes: 3,
            bytes: 1 << 16,
        },
        ..WIDE
    });
    assert_adds_up(&mut bench, (0, 0), (0, 0));
    for size in [1, 20, 300, 4000] {
        bench.publish_sized("a", size);
    }
    assert_adds_up(&mut bench, (4, 4321), (0, 0));
    bench.ping();
    bench.hand_over();
    assert_adds_up(&mut bench, (1, 4000), (3, 321));
    bench.ok();
    assert_adds_up(&mut bench, (1, 4000), (3, 321));
    bench.ok();
    assert_adds_up(&mut bench, (1, 4000), (2, 320));
    bench.hand_over();
    assert_adds_up(&mut bench, (0, 0), (3, 4320));
    // Out of time in flight: answered, but its place is not free yet.
    bench.wait(30 * SECOND);
    assert_adds_up(&mut bench, (0, 0), (3, 4320));
    bench.lose(0);
    assert_adds_up(&mut bench, (0, 0), (0, 0));
}

/// checklist: 103, 104, 105
#[test]
fn what_is_to_be_sent_again_waits() {
    let mut bench = Bench::new();
    bench.publish_sized("a", 1);
    bench.publish_sized("a", 20);
    bench.publish_sized("a", 300);
    bench.hand_over();
    assert_adds_up(&mut bench, (0, 0), (3, 321));
    bench.lose(pub_size(1));
    assert_adds_up(&mut bench, (2, 320), (0, 0));
    bench.hand_over();
    bench.refuse("E_PUB_FAILED PUB failed");
    assert_adds_up(&mut bench, (1, 300), (0, 0));
}

/// checklist: 103, 104, 105
#[test]
fn a_lost_connection_counts_the_whole_ones_as_unknown_and_the_others_as_resent() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        bench.publish("a");
    }
    bench.hand_over();
    bench.ok();
    // Two more whole, the third by half, the fourth not at all.
    assert_eq!(bench.lose(3 * pub_size(1) + 4), settlement(2, 2));
    assert_eq!(bench.queue().counters().requeued, 0);
    // Counted when it is done.
    assert_eq!(bench.hand_over().len(), 2);
    assert_eq!(bench.queue().counters().requeued, 2);
    bench.ok();
    bench.ok();
    // Nothing is in flight: nothing is counted again.
    assert_eq!(bench.lose(0), settlement(0, 0));
}

/// checklist: 103, 104, 105
#[test]
fn with_at_least_once_the_unknown_ones_are_resent_as_well() {
    let mut bench = Bench::retrying();
    for _ in 0..4 {
        bench.publish("a");
    }
    bench.hand_over();
    assert_eq!(bench.lose(3 * pub_size(1)), settlement(4, 3));
    assert_eq!(bench.hand_over().len(), 4);
    assert_eq!(bench.queue().counters().requeued, 4);
}

/// checklist: 103, 104, 105
#[test]
fn a_refusal_counts_the_bystanders_and_neither_the_guilty_nor_those_out_of_time() {
    let mut bench = Bench::new();
    bench.publish("a");
    bench.publish("a");
    bench.publish_within("a", SECOND);
    bench.publish("a");
    bench.hand_over();
    bench.wait(SECOND);
    assert_eq!(bench.refuse("E_PUB_FAILED PUB failed"), settlement(2, 0));
}

/// checklist: 103, 104, 105
#[test]
fn those_out_of_time_are_not_unknown_once_more() {
    let mut bench = Bench::new();
    bench.publish_within("a", SECOND);
    bench.publish("a");
    bench.hand_over();
    bench.wait(SECOND);
    let taken = bench.handed;
    assert_eq!(bench.lose(taken), settlement(0, 1));
    assert_eq!(bench.told().len(), 2);
}

/// Within 1 %.
/// checklist: 103, 104, 105
#[test]
fn only_an_ok_has_a_latency_and_it_is_counted_from_the_acceptance() {
    let mut bench = Bench::new();
    bench.wait(7 * SECOND);
    bench.publish("a");
    bench.publish_within("a", 2 * SECOND);
    bench.publish("a");
    bench.wait(SECOND);
    bench.hand_over();
    bench.wait(SECOND);
    bench.ok();
    let first = bench.queue().latency();
    assert_eq!(first.count(), 1);
    assert_eq!(first.sum(), 2 * SECOND);
    // The late OK of one that timed out, and a refusal.
    bench.wait(10 * SECOND);
    bench.ok();
    bench.refuse("E_PUB_FAILED PUB failed");
    assert_eq!(bench.queue().latency(), first);
    let told = [
        "1 Ok",
        "2 Timeout MaybeWritten",
        "3 Rejected(PubFailed) NotWritten",
    ];
    let mut said = bench.told();
    said.sort();
    assert_eq!(said, told);
}

/// checklist: 103, 104, 105
#[test]
fn a_publish_that_is_sent_again_has_its_whole_time_counted() {
    let mut bench = Bench::new();
    bench.publish("a");
    bench.hand_over();
    bench.wait(3 * SECOND);
    bench.lose(0);
    bench.wait(2 * SECOND);
    bench.hand_over();
    bench.ok();
    assert_eq!(bench.queue().latency().max(), Some(5 * SECOND));
}
