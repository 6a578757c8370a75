//! What is held and in flight stays within its bounds, dead-lines are known in time, and the tally is the answers given.

use super::*;

/// These limits for what is pending, and no others.
fn pending(publishes: usize, bytes: usize) -> Bench {
    Bench::with(Limits {
        pending: Usage { publishes, bytes },
        ..WIDE
    })
}

/// These limits for what is in flight, and no others.
fn window(publishes: usize, bytes: usize) -> Bench {
    Bench::with(Limits {
        window: Usage { publishes, bytes },
        ..WIDE
    })
}

#[test]
fn full_by_count_is_told_at_once_and_not_written() {
    let mut bench = pending(2, 100);
    bench.publish("a");
    bench.publish("a");
    assert!(bench.told().is_empty());
    bench.publish("a");
    assert_eq!(bench.told(), ["3 Full NotWritten"]);
    let text = "queue is full: 2 publishes are outstanding and 1 more would exceed max_pending (2)";
    assert_eq!(bench.latest(), text);
    assert_eq!(bench.hand_over(), ["PUB a 1", "PUB a 2"]);
    bench.ok();
    bench.publish("a");
    assert_eq!(bench.told(), ["1 Ok"]);
}

#[test]
fn full_by_bytes_counts_bodies_up_to_the_very_limit() {
    let mut bench = pending(100, 20);
    bench.publish_sized("a", 10);
    bench.batch("a", 5);
    assert!(bench.told().is_empty());
    bench.publish_sized("a", 1);
    assert_eq!(bench.told(), ["3 Full NotWritten"]);
    let text =
        "queue is full: 20 bytes are outstanding and 1 more would exceed max_pending_bytes (20)";
    assert_eq!(bench.latest(), text);
    assert_eq!(bench.held(), (2, 20));
}

#[test]
fn a_full_queue_leaves_its_dead_lines_alone() {
    let mut bench = pending(1, 100);
    bench.publish("a");
    let due = bench.queue().next_deadline();
    bench.publish_within("a", SECOND);
    assert_eq!(bench.queue().next_deadline(), due);
    assert!(!bench.queue().is_empty());
}

#[test]
fn timed_out_in_flight_keeps_its_share_until_its_command_is_answered() {
    let mut bench = pending(2, 100);
    bench.publish_within("a", SECOND);
    bench.publish_within("a", SECOND);
    bench.hand_over();
    bench.wait(SECOND);
    bench.told();
    assert!(bench.queue().is_empty());
    assert!(bench.queue().has_in_flight());
    assert_eq!(bench.held(), (2, 2));
    bench.publish("a");
    assert_eq!(bench.told(), ["3 Full NotWritten"]);
    bench.ok();
    assert_eq!(bench.held(), (1, 1));
    bench.publish("a");
    assert!(bench.told().is_empty());
    bench.lose(0);
    assert_eq!(bench.held(), (1, 1));
}

#[test]
fn sending_again_never_meets_full() {
    let mut bench = pending(3, 3);
    for _ in 0..3 {
        bench.publish("a");
    }
    bench.hand_over();
    bench.refuse("E_PUB_FAILED PUB failed");
    bench.told();
    // The place that became free is taken, and all is as full as can be when the rest goes again.
    bench.publish("a");
    assert_eq!(bench.hand_over(), ["PUB a 2", "PUB a 3", "PUB a 4"]);
    bench.lose(1);
    assert_eq!(bench.hand_over(), ["PUB a 2", "PUB a 3", "PUB a 4"]);
    assert!(bench.told().is_empty());
}

#[test]
fn the_window_bounds_what_is_in_flight_by_count() {
    let mut bench = window(2, 100);
    for _ in 0..4 {
        bench.publish("a");
    }
    assert_eq!(bench.hand_over(), ["PUB a 1", "PUB a 2"]);
    assert!(bench.hand_over().is_empty());
    bench.ok();
    assert_eq!(bench.hand_over(), ["PUB a 3"]);
    // An empty place is in flight like any other.
    bench.wait(30 * SECOND);
    bench.publish("a");
    assert!(bench.hand_over().is_empty());
    bench.ok();
    assert_eq!(bench.hand_over(), ["PUB a 5"]);
}

#[test]
fn the_window_bounds_what_is_in_flight_by_bytes_up_to_the_very_limit() {
    let mut bench = window(100, 20);
    bench.publish_sized("a", 10);
    bench.batch("a", 5);
    bench.publish_sized("a", 1);
    assert_eq!(bench.hand_over(), ["PUB a 1", "MPUB a 2 2"]);
    bench.ok();
    assert_eq!(bench.hand_over(), ["PUB a 3"]);
}

#[test]
fn one_command_may_always_fly_however_large() {
    let mut bench = window(1, 1);
    bench.publish_sized("a", 50_000);
    bench.publish_sized("a", 50_000);
    assert_eq!(bench.hand_over(), ["PUB a 1"]);
    bench.ok();
    assert_eq!(bench.hand_over(), ["PUB a 2"]);
}

#[test]
fn the_window_is_whole_again_on_a_new_connection() {
    let mut bench = window(2, 100);
    for _ in 0..3 {
        bench.publish("a");
    }
    bench.hand_over();
    bench.lose(0);
    assert_eq!(bench.hand_over(), ["PUB a 1", "PUB a 2"]);
    bench.refuse("E_PUB_FAILED PUB failed");
    assert_eq!(bench.hand_over(), ["PUB a 2", "PUB a 3"]);
}

#[test]
fn due_is_never_later_than_the_earliest_dead_line() {
    let mut bench = Bench::new();
    assert_eq!(bench.queue().next_deadline(), None);
    let start = bench.now;
    bench.publish_within("a", 3 * SECOND);
    assert_eq!(bench.queue().next_deadline(), Some(start + 3 * SECOND));
    bench.publish_within("a", 5 * SECOND);
    assert_eq!(bench.queue().next_deadline(), Some(start + 3 * SECOND));
    bench.publish_within("a", SECOND);
    assert_eq!(bench.queue().next_deadline(), Some(start + SECOND));
    bench.hand_over();
    bench.wait(SECOND);
    assert_eq!(bench.told(), ["3 Timeout MaybeWritten"]);
    assert_eq!(bench.queue().next_deadline(), Some(start + 3 * SECOND));
    // Answered meanwhile, the earliest may be gone: then a look finds nothing, and the next one.
    bench.ok();
    bench.wait(2 * SECOND);
    assert_eq!(bench.told(), ["1 Ok"]);
    assert_eq!(bench.queue().next_deadline(), Some(start + 5 * SECOND));
    // A dead-line is the publish's own, however often it is sent.
    bench.refuse("E_BAD_MESSAGE PUB failed to read message body");
    assert_eq!(bench.queue().next_deadline(), Some(start + 5 * SECOND));
    bench.wait(2 * SECOND);
    assert_eq!(bench.told(), ["2 Timeout NotWritten"]);
    assert_eq!(bench.queue().next_deadline(), None);
}

#[test]
fn a_time_out_too_long_for_the_clock_is_no_panic() {
    let mut bench = Bench::new();
    bench.publish_within("a", Duration::MAX);
    bench.wait(1_000_000 * SECOND);
    assert!(bench.told().is_empty());
    assert!(bench.queue().next_deadline().is_some());
}

#[test]
fn the_tally_is_the_answers_given() {
    let mut bench = Bench::with(Limits {
        pending: Usage {
            publishes: 6,
            bytes: 100,
        },
        ..WIDE
    });
    bench.publish("a"); // Ok
    bench.publish_within("a", SECOND); // timed out in flight, then a late OK
    bench.batch("a", 1); // E_MPUB_FAILED
    bench.publish("a"); // lost whole
    bench.batch("a", 1); // lost whole
    bench.publish("a"); // lost unsent, timed out
    bench.publish("a"); // full
    bench.hand_over();
    bench.wait(SECOND);
    bench.ok();
    bench.ok();
    bench.refuse("E_MPUB_FAILED MPUB failed");
    bench.hand_over();
    bench.lose(pub_size(1) + "MPUB a\n".len() as u64 + 4 + 4 + 5 + 5);
    bench.wait(30 * SECOND);
    let told = [
        "7 Full NotWritten",
        "2 Timeout MaybeWritten",
        "1 Ok",
        "3 Rejected(MpubFailed) MaybePartial",
        "4 ConnectionLost MaybeWritten",
        "5 ConnectionLost MaybePartial",
        "6 Timeout NotWritten",
    ];
    assert_eq!(bench.told(), told);
    let counters = Counters {
        published: 7,
        ok: 1,
        not_written: 2,
        maybe_written: 2,
        maybe_partial: 2,
        rejected_full: 1,
        timed_out: 2,
        // The sixth was to be sent again after the loss as well, and was not.
        requeued: 3,
        commands: 9,
        batches: 0,
        batched: 0,
    };
    assert_eq!(bench.queue().counters(), counters);
}

#[test]
fn a_crowd_whose_time_is_over_is_let_go_of_together_however_much_is_in_flight() {
    let many = 100_000;
    let load = Usage {
        publishes: 2 * many + 1,
        bytes: 1 << 30,
    };
    let mut bench = Bench::with(Limits {
        pending: load,
        window: load,
        ..WIDE
    });
    for _ in 0..many {
        bench.publish("a");
    }
    assert_eq!(bench.hand_over().len(), many);
    for _ in 0..many {
        bench.publish_within("a", SECOND);
    }
    let last = bench.publish("a");
    bench.now += SECOND;
    let began = Instant::now();
    assert_eq!(bench.hand_over(), [format!("PUB a {last}")]);
    // One by one, each moves all that is in flight: that takes 15 s.
    assert!(began.elapsed() < 2 * SECOND, "{:?}", began.elapsed());
    let told = bench.told();
    assert_eq!(told.len(), many);
    assert!(
        told.iter()
            .all(|told| told.ends_with(" Timeout NotWritten"))
    );
}
