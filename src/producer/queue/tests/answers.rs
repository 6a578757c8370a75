//! Exactly one answer on every path, and the true one.

use super::*;

/// contract: 2
#[test]
fn ok_answers_the_oldest_command_and_nothing_else() {
    let mut bench = Bench::new();
    bench.publish("a");
    bench.batch("b", 1);
    bench.defer("a", 250);
    assert_eq!(bench.hand_over(), ["PUB a 1", "MPUB b 2 2", "DPUB a 250 3"]);
    assert!(bench.told().is_empty());
    for told in ["1 Ok", "2 Ok", "3 Ok"] {
        bench.ok();
        assert_eq!(bench.told(), [told]);
    }
    assert!(bench.queue().is_empty());
    assert_eq!(bench.held(), (0, 0));
}

#[test]
fn a_refusal_by_a_known_code_means_not_written() {
    for text in [
        "E_INVALID DPUB timeout 9 out of range",
        "E_BAD_TOPIC PUB topic name is not valid",
        "E_BAD_BODY MPUB invalid message count 0",
        "E_BAD_MESSAGE PUB invalid message body size 0",
        "E_PUB_FAILED PUB failed exiting",
        "E_DPUB_FAILED DPUB failed exiting",
        "E_AUTH_FIRST AUTH required before PUB",
        "E_AUTH_FAILED AUTH failed",
        "E_UNAUTHORIZED PUB failed",
    ] {
        let mut bench = Bench::new();
        bench.publish("a");
        bench.batch("b", 1);
        bench.hand_over();
        bench.refuse(text);
        let code = refusal(text).code();
        assert_eq!(bench.told(), [format!("1 Rejected({code:?}) NotWritten")]);
        assert_eq!(bench.latest(), format!("rejected by nsqd: {text}"));
        // The same for a batch.
        bench.hand_over();
        bench.refuse(text);
        assert_eq!(bench.told(), [format!("2 Rejected({code:?}) NotWritten")]);
    }
}

#[test]
fn a_failed_batch_may_be_partly_stored() {
    let mut bench = Bench::new();
    bench.batch("a", 1);
    bench.publish("a");
    bench.hand_over();
    bench.refuse("E_MPUB_FAILED MPUB failed no space left on device");
    assert_eq!(bench.told(), ["1 Rejected(MpubFailed) MaybePartial"]);
}

#[test]
fn what_an_unknown_code_means_for_its_command_is_unknown() {
    let mut bench = Bench::new();
    bench.publish("a");
    bench.batch("a", 1);
    bench.publish("a");
    bench.hand_over();
    bench.refuse("E_SHINY something new");
    assert_eq!(bench.told(), ["1 Rejected(Unknown) MaybeWritten"]);
    bench.hand_over();
    bench.refuse("");
    assert_eq!(bench.told(), ["2 Rejected(Unknown) MaybePartial"]);
}

#[test]
fn behind_a_refusal_nobody_is_answered_until_the_next_connection_does() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.publish("a");
    }
    bench.hand_over();
    bench.refuse("E_PUB_FAILED PUB failed exiting");
    assert_eq!(bench.told(), ["1 Rejected(PubFailed) NotWritten"]);
    assert_eq!(bench.hand_over(), ["PUB a 2", "PUB a 3"]);
    bench.ok();
    bench.ok();
    assert_eq!(bench.told(), ["2 Ok", "3 Ok"]);
}

/// Four commands of the same size; the socket took two and the first half, or all, or none, of the third.
fn lose_in_the_midst(mut bench: Bench, more: u64) -> Bench {
    bench.publish("a");
    let body = bench.body(1);
    bench.push("a", Payload::Batch(vec![body]), 30 * SECOND);
    bench.publish("a");
    bench.publish("a");
    bench.hand_over();
    let batch = "MPUB a\n".len() as u64 + 4 + 4 + 4 + 1;
    bench.lose(pub_size(1) + batch + more);
    bench
}

#[test]
fn lost_whole_may_be_written_and_lost_half_or_unsent_is_sent_again() {
    for more in [0, 1, pub_size(1) - 1] {
        let mut bench = lose_in_the_midst(Bench::new(), more);
        let told = [
            "1 ConnectionLost MaybeWritten",
            "2 ConnectionLost MaybePartial",
        ];
        assert_eq!(bench.told(), told);
        assert_eq!(bench.hand_over(), ["PUB a 3", "PUB a 4"]);
    }
}

#[test]
fn lost_with_its_very_last_byte_is_lost_whole() {
    let mut bench = lose_in_the_midst(Bench::new(), pub_size(1));
    assert_eq!(
        bench.told().last().unwrap(),
        "3 ConnectionLost MaybeWritten"
    );
    assert_eq!(bench.hand_over(), ["PUB a 4"]);
}

#[test]
fn what_was_lost_half_and_times_out_before_it_is_sent_again_is_not_written() {
    let mut bench = lose_in_the_midst(Bench::new(), pub_size(1) - 1);
    bench.told();
    bench.wait(30 * SECOND);
    assert_eq!(
        bench.told(),
        ["3 Timeout NotWritten", "4 Timeout NotWritten"]
    );
}

#[test]
fn at_least_once_sends_again_what_was_lost_whole() {
    let mut bench = lose_in_the_midst(Bench::retrying(), 1);
    assert!(bench.told().is_empty());
    assert_eq!(
        bench.hand_over(),
        ["PUB a 1", "MPUB a 2", "PUB a 3", "PUB a 4"]
    );
    for _ in 0..4 {
        bench.ok();
    }
    assert_eq!(bench.told(), ["1 Ok", "2 Ok", "3 Ok", "4 Ok"]);
}

#[test]
fn at_least_once_answers_a_refusal_all_the_same() {
    let mut bench = Bench::retrying();
    bench.batch("a", 1);
    bench.hand_over();
    bench.refuse("E_MPUB_FAILED MPUB failed");
    assert_eq!(bench.told(), ["1 Rejected(MpubFailed) MaybePartial"]);
    assert!(bench.hand_over().is_empty());
}

#[test]
fn what_an_earlier_connection_may_have_stored_is_never_not_written_again() {
    fn lost_once() -> Bench {
        let mut bench = Bench::retrying();
        bench.publish("a");
        bench.batch("a", 8);
        bench.publish("b");
        bench.hand_over();
        bench.lose(u64::MAX);
        assert!(bench.told().is_empty());
        bench
    }
    let both = |kind: &str| {
        ["1", "2", "3"].map(|id| {
            let delivery = if id == "2" {
                "MaybePartial"
            } else {
                "MaybeWritten"
            };
            format!("{id} {kind} {delivery}")
        })
    };

    let mut bench = lost_once();
    bench.wait(30 * SECOND);
    assert_eq!(bench.told(), both("Timeout"));
    assert!(bench.latest().starts_with("sent, but nsqd did not respond"));

    let mut bench = lost_once();
    bench.queue().fail_all(&Cause::Drained);
    assert_eq!(bench.told(), both("Drained"));

    let mut bench = lost_once();
    bench.queue = None;
    assert_eq!(bench.told(), both("Closed"));

    // A verdict on the topic, for the refused one and the one that waits.
    let mut bench = lost_once();
    bench.hand_over();
    bench.refuse("E_UNAUTHORIZED PUB failed");
    assert_eq!(bench.told(), both("Rejected(Unauthorized)")[..2]);

    // A limit that nsqd named, for one that is not even sent.
    let mut bench = lost_once();
    bench.hand_over();
    bench.refuse("E_BAD_MESSAGE PUB message too big 1 > 0");
    bench.hand_over();
    assert_eq!(bench.told(), both("Rejected(BadMessage)"));

    // Cancelled, which only the tally tells.
    let mut bench = lost_once();
    bench.cancel(1);
    assert_eq!(bench.hand_over(), ["MPUB a 2 2", "PUB b 3"]);
    assert_eq!(bench.queue().counters().maybe_written, 1);

    // A connection that certainly did not deliver it does not take back what an earlier one may have done.
    let mut bench = lost_once();
    bench.hand_over();
    bench.lose(0);
    bench.wait(30 * SECOND);
    assert_eq!(bench.told(), both("Timeout"));
}

#[test]
fn timed_out_before_hand_over_is_not_written_and_never_sent() {
    let mut bench = Bench::new();
    bench.publish_within("a", SECOND);
    bench.publish("a");
    bench.wait(SECOND);
    assert_eq!(bench.told(), ["1 Timeout NotWritten"]);
    assert_eq!(bench.held(), (1, 1));
    assert!(bench.latest().starts_with("not sent within 1s; last"));
    assert_eq!(bench.hand_over(), ["PUB a 2"]);
}

#[test]
fn timed_out_after_hand_over_may_be_written_even_if_the_socket_took_nothing() {
    let mut bench = Bench::new();
    bench.publish_within("a", SECOND);
    bench.hand_over();
    bench.wait(SECOND);
    assert_eq!(bench.told(), ["1 Timeout MaybeWritten"]);
    assert!(bench.latest().starts_with("sent, but nsqd did not respond"));
    bench.lose(0);
    assert!(bench.told().is_empty());
    assert!(bench.hand_over().is_empty());
}

#[test]
fn a_dead_line_passes_at_its_very_moment_and_not_before() {
    let mut bench = Bench::new();
    bench.publish_within("a", SECOND);
    bench.wait(SECOND - Duration::from_nanos(1));
    assert!(bench.told().is_empty());
    bench.wait(Duration::from_nanos(1));
    assert_eq!(bench.told(), ["1 Timeout NotWritten"]);
}

#[test]
fn a_late_ok_is_swallowed_and_the_next_one_finds_its_own() {
    let mut bench = Bench::new();
    bench.publish("a");
    bench.publish_within("a", SECOND);
    bench.publish("a");
    bench.hand_over();
    bench.wait(SECOND);
    assert_eq!(bench.told(), ["2 Timeout MaybeWritten"]);
    bench.ok();
    assert_eq!(bench.told(), ["1 Ok"]);
    bench.ok();
    assert!(bench.told().is_empty());
    bench.ok();
    assert_eq!(bench.told(), ["3 Ok"]);
}

#[test]
fn a_late_refusal_is_swallowed_too() {
    let mut bench = Bench::new();
    bench.publish_within("a", SECOND);
    bench.publish("a");
    bench.hand_over();
    bench.wait(SECOND);
    bench.told();
    bench.refuse("E_PUB_FAILED PUB failed");
    assert!(bench.told().is_empty());
    assert_eq!(bench.hand_over(), ["PUB a 2"]);
}

#[test]
fn cancelled_before_hand_over_is_never_written() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        bench.publish("a");
    }
    bench.cancel(1);
    bench.cancel(3);
    bench.cancel(5);
    assert_eq!(bench.hand_over(), ["PUB a 2", "PUB a 4"]);
    assert_eq!(bench.held(), (2, 2));
    assert_eq!(bench.queue().counters().not_written, 3);
}

#[test]
fn cancelled_after_hand_over_keeps_its_place_and_swallows_its_answer() {
    let mut bench = Bench::new();
    bench.publish("a");
    bench.publish("a");
    bench.hand_over();
    bench.cancel(1);
    // Another one is cancelled in time, which takes nobody else out of the queue.
    bench.publish("a");
    bench.cancel(3);
    assert!(bench.hand_over().is_empty());
    assert_eq!(bench.told(), ["3 Closed NotWritten"]);
    bench.ok();
    bench.ok();
    // The queue does answer it; that nobody listens is the caller's affair.
    assert_eq!(bench.told(), ["1 Ok", "2 Ok"]);
}

#[test]
fn cancelled_while_it_waits_to_be_sent_again_is_not() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.publish("a");
    }
    bench.hand_over();
    bench.cancel(2);
    bench.refuse("E_PUB_FAILED PUB failed");
    assert_eq!(bench.hand_over(), ["PUB a 3"]);
}

/// contract: 1
#[test]
fn whatever_is_left_is_answered_by_fail_all_and_by_drop() {
    for dropped in [false, true] {
        let mut bench = Bench::with(Limits {
            window: Usage {
                publishes: 3,
                bytes: 100,
            },
            ..WIDE
        });
        bench.publish("a");
        bench.batch("a", 1);
        bench.publish_within("a", SECOND);
        bench.publish("a");
        bench.batch("a", 1);
        bench.hand_over();
        bench.wait(SECOND);
        assert_eq!(bench.told(), ["3 Timeout MaybeWritten"]);
        let kind = if dropped {
            bench.queue = None;
            "Closed"
        } else {
            bench.queue().fail_all(&Cause::Drained);
            assert!(bench.queue().is_empty());
            assert_eq!(bench.queue().next_deadline(), None);
            "Drained"
        };
        // What is in flight and not settled may be written, whatever the socket took.
        let told = [
            format!("1 {kind} MaybeWritten"),
            format!("2 {kind} MaybePartial"),
            format!("4 {kind} NotWritten"),
            format!("5 {kind} NotWritten"),
        ];
        assert_eq!(bench.told(), told);
        bench.queue = None;
        assert!(bench.told().is_empty());
    }
}

/// contract: 1
#[test]
fn nothing_is_answered_twice_when_everything_fails_in_turn() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        bench.publish("a");
    }
    bench.hand_over();
    bench.queue().fail_all(&Cause::Drained);
    assert_eq!(bench.told().len(), 4);
    bench.wait(60 * SECOND);
    bench.ok();
    bench.queue().on_error(&refusal("E_UNAUTHORIZED")).unwrap();
    bench.lose(u64::MAX);
    bench.queue().fail_all(&Cause::Drained);
    bench.queue = None;
    assert!(bench.told().is_empty());
}
