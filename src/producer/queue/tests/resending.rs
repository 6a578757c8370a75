//! What is sent again, in which order, and what is not: verdicts on a topic, nsqd's own limits, answers out of step.

use super::*;

#[test]
fn what_is_sent_again_goes_before_everything_younger() {
    let mut bench = Bench::new();
    for topic in ["a", "b", "a", "c"] {
        bench.publish(topic);
    }
    bench.hand_over();
    bench.publish("a");
    bench.refuse("E_PUB_FAILED PUB failed");
    bench.publish("b");
    let again = ["PUB b 2", "PUB a 3", "PUB c 4", "PUB a 5", "PUB b 6"];
    assert_eq!(bench.hand_over(), again);
    bench.lose(0);
    bench.publish("c");
    let again: Vec<_> = again.into_iter().chain(["PUB c 7"]).collect();
    assert_eq!(bench.hand_over(), again);
}

#[test]
fn the_places_of_commands_start_anew_on_each_connection() {
    let mut bench = Bench::new();
    bench.publish("a");
    bench.publish("a");
    bench.hand_over();
    assert_eq!(bench.queue().oldest_end(), Some(pub_size(1)));
    bench.lose(0);
    assert_eq!(bench.queue().oldest_end(), None);
    assert!(!bench.queue().has_in_flight());
    bench.hand_over();
    assert_eq!(bench.queue().oldest_end(), Some(pub_size(1)));
    bench.ok();
    assert_eq!(bench.queue().oldest_end(), Some(2 * pub_size(1)));
}

#[test]
fn the_places_of_commands_go_on_from_burst_to_burst() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.publish("a");
        bench.hand_over();
    }
    bench.lose(2 * pub_size(1));
    let told = [1, 2].map(|id| format!("{id} ConnectionLost MaybeWritten"));
    assert_eq!(bench.told(), told);
    assert_eq!(bench.hand_over(), ["PUB a 3"]);
}

#[test]
fn timed_out_in_flight_is_not_sent_again_whatever_ends_the_connection() {
    fn in_flight(mut bench: Bench) -> Bench {
        bench.publish("a");
        bench.publish_within("a", SECOND);
        bench.publish("a");
        bench.hand_over();
        bench.wait(SECOND);
        assert_eq!(bench.told(), ["2 Timeout MaybeWritten"]);
        bench
    }
    let mut bench = in_flight(Bench::new());
    bench.refuse("E_PUB_FAILED PUB failed");
    assert_eq!(bench.hand_over(), ["PUB a 3"]);

    let mut bench = in_flight(Bench::new());
    bench.lose(pub_size(1));
    assert_eq!(bench.hand_over(), ["PUB a 3"]);

    let mut bench = in_flight(Bench::retrying());
    bench.lose(u64::MAX);
    assert_eq!(bench.hand_over(), ["PUB a 1", "PUB a 3"]);
    assert_eq!(bench.held(), (2, 2));
}

#[test]
fn a_verdict_on_a_topic_answers_all_that_was_accepted_for_it() {
    for (text, code) in [
        ("E_BAD_TOPIC PUB topic name is not valid", "BadTopic"),
        ("E_UNAUTHORIZED PUB failed", "Unauthorized"),
    ] {
        let mut bench = Bench::with(Limits {
            window: Usage {
                publishes: 4,
                bytes: 100,
            },
            ..WIDE
        });
        for topic in ["a", "b", "a", "b", "a", "b"] {
            bench.publish(topic);
        }
        bench.batch("a", 1);
        bench.hand_over();
        bench.queue().on_error(&refusal(text)).unwrap();
        let told = ["1", "3", "5", "7"].map(|id| format!("{id} Rejected({code}) NotWritten"));
        assert_eq!(bench.told(), told);
        // What was in flight keeps its share until the connection has ended.
        assert_eq!(bench.held(), (4, 4));
        bench.queue().on_disconnected(ConnectionEnd::Rejected);
        assert_eq!(bench.held(), (3, 3));
        bench.out = Outbox::new();
        // It is no verdict on what comes later: grants change.
        bench.publish("a");
        let again = ["PUB b 2", "PUB b 4", "PUB b 6", "PUB a 8"];
        assert_eq!(bench.hand_over(), again);
    }
}

#[test]
fn other_refusals_are_no_verdict_on_the_topic() {
    for text in [
        "E_INVALID",
        "E_PUB_FAILED",
        "E_BAD_MESSAGE",
        "E_AUTH_FAILED",
        "E_SHINY",
    ] {
        let mut bench = Bench::new();
        bench.publish("a");
        bench.publish("a");
        bench.hand_over();
        bench.refuse(text);
        assert_eq!(bench.told().len(), 1, "{text}");
        assert_eq!(bench.hand_over(), ["PUB a 2"], "{text}");
    }
}

#[test]
fn a_slow_upload_is_sent_again_in_its_place() {
    for text in [
        "E_BAD_MESSAGE PUB failed to read message body",
        "E_BAD_BODY MPUB failed to read message count",
    ] {
        let mut bench = Bench::new();
        bench.publish("a");
        bench.publish("a");
        bench.hand_over();
        bench.refuse(text);
        assert!(bench.told().is_empty());
        assert_eq!(bench.hand_over(), ["PUB a 1", "PUB a 2"]);
        bench.ok();
        assert_eq!(bench.told(), ["1 Ok"]);
    }
}

#[test]
fn a_slow_upload_may_be_sent_again_until_its_dead_line() {
    let mut bench = Bench::new();
    bench.publish("a");
    bench.hand_over();
    bench.refuse("E_BAD_MESSAGE PUB failed to read message body");
    bench.wait(30 * SECOND);
    assert_eq!(bench.told(), ["1 Timeout NotWritten"]);
}

#[test]
fn a_limit_that_nsqd_names_costs_two_connections_and_not_one_for_each_publish() {
    let mut bench = Bench::new();
    for _ in 0..500 {
        bench.publish_sized("large", 20);
        bench.publish_sized("small", 10);
    }
    let mut connections = 0;
    while !bench.queue().is_empty() {
        connections += 1;
        assert!(connections <= 2, "one more connection");
        let mut handed_over = bench.hand_over();
        while !handed_over.is_empty() {
            let large = handed_over
                .iter()
                .position(|command| command.contains("large"));
            (0..large.unwrap_or(handed_over.len())).for_each(|_| bench.ok());
            if large.is_some() {
                bench.refuse("E_BAD_MESSAGE PUB message too big 20 > 10");
                break;
            }
            handed_over = bench.hand_over();
        }
    }
    assert_eq!(connections, 2);
    let told = bench.told();
    let refused = told
        .iter()
        .filter(|told| told.ends_with(" Rejected(BadMessage) NotWritten"));
    assert_eq!((refused.count(), told.len()), (500, 1000));
    assert_eq!(bench.queue().counters().ok, 500);
}

/// What is handed over of a PUB of 11 bytes, one of 10, batches of two times 11, of two times 6, of two times 5, and a
/// DPUB, after nsqd has said this.
fn goes_after(text: &str) -> Vec<String> {
    let mut bench = Bench::new();
    bench.publish("x");
    bench.hand_over();
    bench.refuse(text);
    bench.publish_sized("a", 11);
    bench.publish_sized("a", 10);
    for size in [11, 6, 5] {
        bench.batch("a", size);
    }
    let body = bench.body(11);
    bench.push("a", Payload::Deferred { body, delay_ms: 5 }, SECOND);
    bench.hand_over()
}

#[test]
fn a_message_limit_counts_for_each_message_and_a_batch_limit_for_batches() {
    let message = goes_after("E_BAD_MESSAGE MPUB message too big 20 > 10");
    assert_eq!(message, ["PUB a 3", "MPUB a 5 5", "MPUB a 6 6"]);
    // The batches take 4 bytes, and 4 more for each message: 34, 24 and 22.
    let batch = goes_after("E_BAD_BODY MPUB body too big 30 > 22");
    assert_eq!(batch, ["PUB a 2", "PUB a 3", "MPUB a 6 6", "DPUB a 5 7"]);
    let other = goes_after("E_INVALID whatever too big 30 > 1");
    assert_eq!(other.len(), 6);
    let nothing = goes_after("E_BAD_MESSAGE PUB invalid message body size 0");
    assert_eq!(nothing.len(), 6);
}

#[test]
fn both_limits_stand_side_by_side_and_the_latest_of_each_counts() {
    let mut bench = Bench::new();
    for text in [
        "E_BAD_MESSAGE PUB message too big 20 > 5",
        "E_BAD_BODY MPUB body too big 30 > 22",
        "E_BAD_MESSAGE PUB message too big 20 > 10",
    ] {
        bench.publish("a");
        bench.hand_over();
        bench.refuse(text);
    }
    bench.told();
    bench.publish_sized("a", 10);
    bench.publish_sized("a", 11);
    bench.batch("a", 6);
    bench.batch("a", 5);
    assert_eq!(bench.hand_over(), ["PUB a 4", "MPUB a 7 7"]);
    let told = [
        "5 Rejected(BadMessage) NotWritten",
        "6 Rejected(BadBody) NotWritten",
    ];
    assert_eq!(bench.told(), told);
}

#[test]
fn a_named_limit_is_forgotten_when_a_connection_ends_without_a_refusal() {
    let mut bench = Bench::new();
    bench.publish_sized("a", 20);
    bench.hand_over();
    bench.refuse("E_BAD_MESSAGE PUB message too big 20 > 10");
    bench.publish("a");
    bench.hand_over();
    // Another refusal is no sign of another nsqd.
    bench.refuse("E_PUB_FAILED PUB failed");
    bench.told();
    bench.publish_sized("a", 20);
    assert!(bench.hand_over().is_empty());
    assert_eq!(bench.told(), ["3 Rejected(BadMessage) NotWritten"]);
    bench.lose(0);
    bench.publish_sized("a", 20);
    assert_eq!(bench.hand_over(), ["PUB a 4"]);
}

#[test]
fn a_refusal_that_finds_its_caller_answered_still_names_its_limit() {
    let mut bench = Bench::new();
    bench.publish_sized("a", 20);
    bench.publish_sized("a", 20);
    bench.hand_over();
    bench.wait(30 * SECOND);
    bench.told();
    bench.refuse("E_BAD_MESSAGE PUB message too big 20 > 10");
    bench.publish_sized("a", 20);
    assert!(bench.hand_over().is_empty());
    assert_eq!(bench.told(), ["3 Rejected(BadMessage) NotWritten"]);
}

/// fault: P18
#[test]
fn an_ok_with_nothing_in_flight_is_out_of_step() {
    let mut bench = Bench::new();
    bench.publish("a");
    assert!(bench.take_ok(u64::MAX).is_err());
    bench.hand_over();
    bench.ok();
    assert!(bench.take_ok(u64::MAX).is_err());
    assert_eq!(bench.told(), ["1 Ok"]);
}

#[test]
fn an_ok_for_a_command_that_is_not_wholly_sent_is_not_believed() {
    let mut bench = Bench::new();
    bench.publish("a");
    bench.publish("a");
    bench.hand_over();
    assert!(bench.take_ok(pub_size(1) - 1).is_err());
    assert!(bench.told().is_empty());
    bench.take_ok(pub_size(1)).unwrap();
    assert!(bench.take_ok(2 * pub_size(1) - 1).is_err());
    assert_eq!(bench.told(), ["1 Ok"]);
    // So the connection is lost, with no more than what the socket took.
    bench.lose(2 * pub_size(1) - 1);
    assert!(bench.told().is_empty());
    assert_eq!(bench.hand_over(), ["PUB a 2"]);
}

#[test]
fn an_error_with_nothing_in_flight_is_out_of_step_and_answers_nobody() {
    let mut bench = Bench::new();
    bench.publish("a");
    for text in [
        "E_UNAUTHORIZED PUB failed",
        "E_BAD_MESSAGE PUB message too big 20 > 0",
        "E_BAD_MESSAGE PUB failed to read message body",
    ] {
        assert!(bench.queue().on_error(&refusal(text)).is_err());
    }
    assert!(bench.told().is_empty());
    assert_eq!(bench.hand_over(), ["PUB a 1"]);
}

#[test]
fn when_more_follows_an_error_frame_what_was_in_flight_is_lost() {
    let mut bench = Bench::new();
    bench.publish("a");
    bench.publish("a");
    bench.publish("a");
    bench.hand_over();
    bench.queue().on_error(&refusal("E_PUB_FAILED")).unwrap();
    bench.lose(2 * pub_size(1));
    let told = [
        "1 Rejected(PubFailed) NotWritten",
        "2 ConnectionLost MaybeWritten",
    ];
    assert_eq!(bench.told(), told);
    assert_eq!(bench.hand_over(), ["PUB a 3"]);
}
