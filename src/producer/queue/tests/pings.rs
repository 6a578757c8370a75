//! A ping is a command like any other, and yet no publish: it is matched in order, needs no room, and repeats itself.

use super::*;

/// checklist: 44
#[test]
fn a_ping_is_answered_by_the_ok_in_its_place_among_the_publishes() {
    let mut bench = Bench::new();
    bench.publish("a");
    bench.hand_over();
    bench.ping();
    assert_eq!(bench.hand_over(), ["IDENTIFY {}"]);
    bench.publish("a");
    assert_eq!(bench.hand_over(), ["PUB a 3"]);
    for told in ["1 Ok", "2 Ok", "3 Ok"] {
        bench.ok();
        assert_eq!(bench.told(), [told]);
    }
    assert!(bench.queue().is_empty() && !bench.queue().has_in_flight());
    assert!(bench.take_ok(u64::MAX).is_err());
}

/// checklist: 44
#[test]
fn a_ping_goes_before_the_publishes_that_wait_and_several_keep_their_order() {
    let mut bench = Bench::new();
    bench.publish("a");
    bench.ping();
    bench.publish("a");
    bench.ping();
    let sent = ["IDENTIFY {}", "IDENTIFY {}", "PUB a 1", "PUB a 3"];
    assert_eq!(bench.hand_over(), sent);
    (0..4).for_each(|_| bench.ok());
    assert_eq!(bench.told(), ["2 Ok", "4 Ok", "1 Ok", "3 Ok"]);
}

/// checklist: 44
#[test]
fn a_ping_needs_no_room_and_takes_none() {
    let one = Usage {
        publishes: 1,
        bytes: 1,
    };
    let mut bench = Bench::with(Limits {
        pending: one,
        window: one,
        ..WIDE
    });
    bench.ping();
    bench.publish("a");
    assert_eq!(bench.hand_over(), ["IDENTIFY {}", "PUB a 2"]);
    // Both bounds are met now.
    bench.ping();
    assert_eq!(bench.hand_over(), ["IDENTIFY {}"]);
    assert_eq!(bench.held(), (1, 1));
    assert_eq!(bench.queue().in_flight(), one);
    assert!(bench.told().is_empty());
    (0..3).for_each(|_| bench.ok());
    assert_eq!(bench.told(), ["1 Ok", "2 Ok", "3 Ok"]);
    // A ping alone in flight opens no window: one publish may always fly, however large.
    bench.ping();
    bench.hand_over();
    bench.publish("a");
    assert_eq!(bench.hand_over(), ["PUB a 5"]);
}

/// checklist: 44
#[test]
fn a_publish_larger_than_the_window_may_fly_beside_a_ping() {
    let mut bench = Bench::with(Limits {
        window: Usage {
            publishes: 10,
            bytes: 5,
        },
        ..WIDE
    });
    bench.ping();
    bench.hand_over();
    bench.publish_sized("a", 10);
    assert_eq!(bench.hand_over(), ["PUB a 2"]);
}

/// checklist: 44
#[test]
fn a_ping_that_times_out_in_flight_keeps_its_place_and_its_late_ok_is_swallowed() {
    let mut bench = Bench::new();
    bench.publish("a");
    bench.hand_over();
    bench.ping_within(SECOND);
    bench.hand_over();
    bench.publish("a");
    bench.ping();
    // The ping goes first.
    assert_eq!(bench.hand_over(), ["IDENTIFY {}", "PUB a 3"]);
    bench.wait(SECOND);
    assert_eq!(bench.told(), ["2 Timeout NotWritten"]);
    let text = "sent, but nsqd did not respond within 1s";
    assert_eq!(bench.latest(), text);
    bench.ok();
    assert_eq!(bench.told(), ["1 Ok"]);
    bench.ok();
    assert!(bench.told().is_empty());
    bench.ok();
    assert_eq!(bench.told(), ["4 Ok"]);
    bench.ok();
    assert_eq!(bench.told(), ["3 Ok"]);
}

/// checklist: 44
#[test]
fn a_ping_that_was_not_sent_times_out_with_the_last_failure_of_the_connection() {
    let mut bench = Bench::new();
    bench.ping_within(SECOND);
    let due = bench.now + SECOND;
    assert_eq!(bench.queue().next_deadline(), Some(due));
    assert!(!bench.queue().is_empty());
    bench.wait(SECOND - Duration::from_millis(1));
    assert!(bench.told().is_empty());
    bench.wait(Duration::from_millis(1));
    assert_eq!(bench.told(), ["1 Timeout NotWritten"]);
    assert!(bench.latest().contains("closed by the peer"));
    assert_eq!(bench.queue().next_deadline(), None);
    assert!(bench.queue().is_empty() && bench.hand_over().is_empty());
}

/// checklist: 44
#[test]
fn the_earliest_dead_line_of_pings_and_publishes_is_known() {
    let mut bench = Bench::new();
    let start = bench.now;
    bench.publish_within("a", 3 * SECOND);
    bench.ping_within(2 * SECOND);
    assert_eq!(bench.queue().next_deadline(), Some(start + 2 * SECOND));
    bench.ping_within(4 * SECOND);
    bench.hand_over();
    bench.wait(2 * SECOND);
    assert_eq!(bench.queue().next_deadline(), Some(start + 3 * SECOND));
    bench.wait(SECOND);
    assert_eq!(bench.queue().next_deadline(), Some(start + 4 * SECOND));
    bench.wait(SECOND);
    assert_eq!(bench.queue().next_deadline(), None);
    assert!(bench.queue().has_in_flight());
}

/// checklist: 44
#[test]
fn a_ping_whose_caller_is_gone_is_never_sent() {
    let mut bench = Bench::new();
    bench.ping();
    bench.ping();
    bench.publish("a");
    bench.cancel(1);
    assert_eq!(bench.hand_over(), ["IDENTIFY {}", "PUB a 3"]);
    bench.ok();
    bench.ok();
    assert_eq!(bench.told(), ["2 Ok", "3 Ok"]);
    bench.ping();
    bench.cancel(4);
    assert!(bench.hand_over().is_empty());
    assert!(bench.queue().is_empty());
}

/// checklist: 44
#[test]
fn a_ping_whose_caller_goes_later_shifts_no_answer() {
    let mut bench = Bench::new();
    bench.ping();
    bench.publish("a");
    bench.hand_over();
    bench.cancel(1);
    bench.ok();
    bench.told();
    bench.ok();
    assert_eq!(bench.told(), ["2 Ok"]);
}

/// checklist: 44
#[test]
fn after_a_lost_connection_the_next_one_is_asked_before_any_publish() {
    let mut bench = Bench::new();
    bench.publish("a");
    bench.hand_over();
    bench.ping();
    bench.hand_over();
    bench.publish("a");
    bench.hand_over();
    // The socket took the first publish and the ping.
    let identify = "IDENTIFY\n".len() as u64 + 4 + 2;
    let settlement = bench.lose(pub_size(1) + identify);
    // A ping is neither sent again as a publish is, nor unknown.
    let expected = DisconnectOutcome {
        requeued: 1,
        maybe_written: 1,
    };
    assert_eq!(settlement, expected);
    assert_eq!(bench.told(), ["1 ConnectionLost MaybeWritten"]);
    assert_eq!(bench.hand_over(), ["IDENTIFY {}", "PUB a 3"]);
    bench.ok();
    bench.ok();
    assert_eq!(bench.told(), ["2 Ok", "3 Ok"]);
}

/// checklist: 44
#[test]
fn one_that_timed_out_in_flight_is_not_sent_again() {
    let mut bench = Bench::new();
    bench.ping_within(SECOND);
    bench.ping();
    bench.hand_over();
    bench.wait(SECOND);
    bench.told();
    bench.lose(0);
    assert_eq!(bench.hand_over(), ["IDENTIFY {}"]);
    bench.ok();
    assert_eq!(bench.told(), ["2 Ok"]);
}

/// checklist: 44
#[test]
fn behind_a_publish_that_is_refused_it_is_sent_again() {
    let mut bench = Bench::new();
    bench.publish("a");
    bench.hand_over();
    bench.ping();
    bench.hand_over();
    assert_eq!(bench.refuse("E_BAD_TOPIC no"), DisconnectOutcome::default());
    assert_eq!(bench.told(), ["1 Rejected(BadTopic) NotWritten"]);
    assert_eq!(bench.hand_over(), ["IDENTIFY {}"]);
    bench.ok();
    assert_eq!(bench.told(), ["2 Ok"]);
}

/// checklist: 44
#[test]
fn a_ping_that_is_refused_fails_alone() {
    let mut bench = Bench::new();
    bench.ping();
    bench.ping();
    bench.publish("a");
    bench.hand_over();
    let settlement = bench.refuse("E_INVALID cannot IDENTIFY in current state");
    let expected = DisconnectOutcome {
        requeued: 1,
        maybe_written: 0,
    };
    assert_eq!(settlement, expected);
    assert_eq!(bench.told(), ["1 Rejected(Invalid) NotWritten"]);
    assert_eq!(bench.hand_over(), ["IDENTIFY {}", "PUB a 3"]);
    bench.ok();
    bench.ok();
    assert_eq!(bench.told(), ["2 Ok", "3 Ok"]);
}

/// checklist: 44
#[test]
fn a_refusal_of_a_ping_names_no_limit_and_condemns_no_topic() {
    for text in [
        "E_BAD_BODY IDENTIFY body too big 21 > 20",
        "E_BAD_TOPIC what",
    ] {
        let mut bench = Bench::new();
        bench.ping();
        bench.batch("a", 100);
        bench.hand_over();
        bench.refuse(text);
        assert_eq!(bench.told().len(), 1);
        assert_eq!(bench.hand_over(), ["MPUB a 2 2"]);
        bench.ok();
        assert_eq!(bench.told(), ["2 Ok"]);
    }
}

/// checklist: 44
#[test]
fn an_ok_for_a_ping_that_is_not_wholly_sent_is_out_of_step() {
    let mut bench = Bench::new();
    bench.ping();
    bench.hand_over();
    let whole = bench.handed;
    assert!(bench.take_ok(whole - 1).is_err());
    assert!(bench.told().is_empty());
    bench.take_ok(whole).unwrap();
    assert_eq!(bench.told(), ["1 Ok"]);
}

/// checklist: 44
#[test]
fn a_ping_is_not_in_the_tally_whatever_becomes_of_it() {
    let mut bench = Bench::new();
    bench.ping();
    bench.hand_over();
    bench.ok();
    bench.ping_within(SECOND);
    bench.wait(SECOND);
    bench.ping();
    bench.hand_over();
    bench.refuse("E_INVALID");
    bench.ping();
    bench.hand_over();
    bench.lose(0);
    bench.queue().fail_all(&Cause::Drained);
    let told = [
        "1 Ok",
        "2 Timeout NotWritten",
        "3 Rejected(Invalid) NotWritten",
        "4 Drained NotWritten",
    ];
    assert_eq!(bench.told(), told);
    assert_eq!(bench.queue().counters(), Counters::default());
    assert_eq!(bench.queue().latency(), Latency::default());
    assert!(bench.queue().is_empty());
}

/// checklist: 44
#[test]
fn a_queue_that_is_dropped_answers_its_pings() {
    let mut bench = Bench::new();
    bench.ping();
    bench.hand_over();
    bench.ping();
    bench.queue = None;
    assert_eq!(bench.told(), ["1 Closed NotWritten", "2 Closed NotWritten"]);
}

/// checklist: 44
#[test]
fn a_ping_whose_caller_is_gone_is_waited_for_by_nobody() {
    let mut bench = Bench::new();
    let forever = Duration::MAX;
    let id = bench.ping_within(forever);
    assert!(!bench.queue().is_empty());
    bench.cancel(id);
    assert!(bench.queue().is_empty());
    let id = bench.ping_within(forever);
    assert_eq!(bench.hand_over(), ["IDENTIFY {}"]);
    assert!(!bench.queue().is_empty());
    bench.cancel(id);
    // Its place waits on, so that no answer is shifted.
    assert!(bench.queue().is_empty() && bench.queue().has_in_flight());
    bench.publish("a");
    bench.hand_over();
    bench.ok();
    assert_eq!(bench.told(), ["2 Ok"]);
    bench.ok();
    assert_eq!(bench.told(), ["3 Ok"]);
}

/// checklist: 44
#[test]
fn pings_whose_callers_are_gone_do_not_pile_up() {
    let mut bench = Bench::new();
    bench.ping();
    bench.hand_over();
    for _ in 0..10_000 {
        let id = bench.ping_within(Duration::MAX);
        bench.cancel(id);
    }
    assert!(bench.queue().pings.entries() <= 64 + 1);
    bench.ok();
    assert_eq!(bench.told(), ["1 Ok"]);
    assert!(bench.hand_over().is_empty());
}

/// checklist: 44
#[test]
fn letting_go_of_a_crowd_keeps_the_places_in_flight_and_all_that_are_awaited() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.ping();
    }
    assert_eq!(bench.hand_over().len(), 3);
    bench.cancel(2);
    bench.cancel(3);
    for _ in 0..60 {
        let id = bench.ping();
        bench.cancel(id);
    }
    let waits = bench.ping();
    assert_eq!(bench.queue().pings.entries(), 64);
    let last = bench.ping();
    assert_eq!(bench.queue().pings.entries(), 5);
    bench.ok();
    assert_eq!(bench.told(), ["1 Ok"]);
    (0..2).for_each(|_| bench.ok());
    bench.told();
    assert_eq!(bench.hand_over(), ["IDENTIFY {}", "IDENTIFY {}"]);
    for id in [waits, last] {
        bench.ok();
        assert_eq!(bench.told(), [format!("{id} Ok")]);
    }
}

/// checklist: 44
#[test]
fn of_pings_that_time_out_together_only_those_that_were_sent_are_called_so() {
    let mut bench = Bench::new();
    bench.ping_within(SECOND);
    bench.hand_over();
    bench.ping_within(SECOND);
    bench.wait(SECOND);
    let told = ["1 Timeout NotWritten", "2 Timeout NotWritten"];
    assert_eq!(bench.told(), told);
    let text = "not sent within 1s; last connection error: closed by the peer";
    assert_eq!(bench.latest(), text);
    assert_eq!(bench.queue().pings.entries(), 1);
}
