//! PublishError frames for automatic batches: the innocent are not punished, and nobody is told what is not true.

use super::*;

/// Three publishes of one topic in one batch that was refused so, one of another, and what is handed over next.
fn refused(text: &str) -> (Bench, Vec<String>) {
    let mut bench = Bench::folding();
    bench.publish_all("aaab");
    assert_eq!(bench.hand_over(), ["MPUB a 1 2 3", "PUB b 4"]);
    bench.refuse(text);
    let again = bench.hand_over();
    (bench, again)
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn of_a_refused_batch_only_the_guilty_one_fails() {
    for text in [
        "E_BAD_MESSAGE MPUB invalid message(1) body size -5",
        "E_BAD_BODY MPUB invalid message count 0",
        "E_INVALID MPUB no",
        "E_AUTH_FAILED AUTH failed",
        "E_PUB_FAILED PUB failed",
    ] {
        let (mut bench, again) = refused(text);
        assert!(bench.told().is_empty(), "{text}");
        assert_eq!(
            again,
            ["PUB b 4", "PUB a 1", "PUB a 2", "PUB a 3"],
            "{text}"
        );
        bench.ok();
        bench.ok();
        bench.refuse("E_BAD_MESSAGE PUB invalid message body size -5");
        let told = ["4 Ok", "1 Ok", "2 Rejected(BadMessage) NotWritten"];
        assert_eq!(bench.told(), told);
        assert_eq!(bench.hand_over(), ["PUB a 3"]);
        bench.ok();
        assert_eq!(bench.told(), ["3 Ok"]);
    }
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn they_go_by_themselves_until_they_are_answered_and_others_are_folded_meanwhile() {
    let (mut bench, _) = refused("E_BAD_MESSAGE MPUB invalid message");
    bench.lose(0);
    bench.publish_all("aabb");
    bench.queue().on_connected(SECOND);
    let again = [
        "MPUB b 4 7 8",
        "PUB a 1",
        "PUB a 2",
        "PUB a 3",
        "MPUB a 5 6",
    ];
    assert_eq!(bench.hand_over(), again);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn what_stood_behind_a_refused_batch_is_as_foldable_as_before() {
    let mut bench = Bench::folding_within(2, 900_000);
    bench.publish_all("aaaa");
    assert_eq!(bench.hand_over(), ["MPUB a 1 2", "MPUB a 3 4"]);
    assert_eq!(bench.refuse("E_BAD_MESSAGE MPUB no").requeued, 4);
    assert_eq!(bench.hand_over(), ["PUB a 1", "PUB a 2", "MPUB a 3 4"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn a_message_limit_that_nsqd_names_is_met_by_the_guilty_alone_and_without_another_refusal() {
    let mut bench = Bench::folding();
    for size in [10, 11, 10, 20] {
        bench.publish_sized("a", size);
    }
    bench.hand_over();
    bench.refuse("E_BAD_MESSAGE MPUB message too big 11 > 10");
    assert!(bench.told().is_empty());
    assert_eq!(bench.hand_over(), ["PUB a 1", "PUB a 3"]);
    let told = [2, 4].map(|id| format!("{id} Rejected(BadMessage) NotWritten"));
    assert_eq!(bench.told(), told);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn a_body_limit_that_nsqd_names_bounds_the_next_batches_until_a_connection_is_lost() {
    let mut bench = Bench::folding();
    bench.publish_all("aaa");
    bench.hand_over();
    bench.refuse("E_BAD_BODY MPUB body too big 19 > 14");
    assert!(bench.told().is_empty());
    assert_eq!(bench.hand_over(), ["PUB a 1", "PUB a 2", "PUB a 3"]);
    for _ in 0..3 {
        bench.ok();
    }
    // 4, and 5 for each.
    bench.publish_all("aaa");
    assert_eq!(bench.hand_over(), ["MPUB a 4 5", "PUB a 6"]);
    bench.ok();
    bench.ok();
    bench.lose(0);
    bench.publish_all("aaa");
    assert_eq!(bench.hand_over(), ["MPUB a 7 8 9"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn a_verdict_on_the_topic_answers_the_batch_and_all_else_of_its_topic() {
    for (text, code) in [
        ("E_BAD_TOPIC MPUB topic name is not valid", "BadTopic"),
        ("E_UNAUTHORIZED MPUB failed", "Unauthorized"),
    ] {
        let mut bench = Bench::folding_within(2, 900_000);
        bench.publish_all("aaaba");
        bench.hand_over();
        bench.publish_all("ba");
        bench.refuse(text);
        let mut told = bench.told();
        told.sort();
        let all = [1, 2, 3, 5, 7].map(|id| format!("{id} Rejected({code}) NotWritten"));
        assert_eq!(told, all);
        assert_eq!(bench.hand_over(), ["MPUB b 4 6"]);
        assert_eq!(bench.held(), (2, 2));
    }
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn a_batch_that_failed_may_be_written_and_so_may_one_refused_for_a_reason_nobody_knows() {
    for (text, code) in [
        ("E_MPUB_FAILED MPUB failed no space left", "MpubFailed"),
        ("E_SHINY something new", "Unknown"),
    ] {
        let (mut bench, again) = refused(text);
        let told = [1, 2, 3].map(|id| format!("{id} Rejected({code}) MaybeWritten"));
        assert_eq!(bench.told(), told);
        assert_eq!(again, ["PUB b 4"]);
    }
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn while_nsqd_cannot_store_nothing_is_folded() {
    for text in [
        "E_PUB_FAILED PUB no",
        "E_DPUB_FAILED DPUB no",
        "E_MPUB_FAILED MPUB no",
    ] {
        let mut bench = Bench::folding();
        bench.publish("a");
        bench.hand_over();
        bench.refuse(text);
        bench.told();
        bench.publish_all("aabb");
        assert_eq!(
            bench.hand_over(),
            ["PUB a 2", "PUB b 4", "PUB a 3", "PUB b 5"],
            "{text}"
        );
        // A new connection proves nothing.
        bench.lose(0);
        assert_eq!(bench.hand_over().len(), 4, "{text}");
        // An OK does, and for the topic that could not be stored its own.
        bench.ok();
        assert_eq!(bench.told(), ["2 Ok"]);
        bench.publish_all("bb");
        assert_eq!(bench.hand_over(), ["MPUB b 6 7"], "{text}");
        bench.ok();
        bench.publish_all("aa");
        assert_eq!(bench.hand_over(), ["MPUB a 8 9"], "{text}");
    }
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn the_topic_that_could_not_be_stored_is_not_folded_before_its_own_ok() {
    let mut bench = Bench::folding();
    bench.publish_all("ab");
    bench.hand_over();
    bench.refuse("E_PUB_FAILED PUB failed");
    assert_eq!(bench.hand_over(), ["PUB b 2"]);
    bench.ok();
    bench.publish_all("aabb");
    let commands = ["PUB a 3", "MPUB b 5 6", "PUB a 4"];
    assert_eq!(bench.hand_over(), commands);
    bench.ok();
    bench.publish_all("aa");
    assert_eq!(bench.hand_over(), ["MPUB a 7 8"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn the_ok_of_a_ping_is_no_sign_that_nsqd_can_store() {
    let mut bench = Bench::folding();
    bench.publish("a");
    bench.hand_over();
    bench.refuse("E_MPUB_FAILED MPUB failed");
    bench.ping();
    bench.hand_over();
    bench.ok();
    bench.publish_all("bb");
    assert_eq!(bench.hand_over(), ["PUB b 3", "PUB b 4"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn a_slow_upload_of_a_batch_is_nobodys_fault_and_it_is_sent_again_as_it_was() {
    for text in [
        "E_BAD_MESSAGE MPUB failed to read message(1) body",
        "E_BAD_BODY MPUB failed to read message count",
    ] {
        let (mut bench, again) = refused(text);
        assert!(bench.told().is_empty());
        assert_eq!(again, ["PUB b 4", "MPUB a 1 2 3"]);
        bench.ok();
        bench.ok();
        assert_eq!(bench.told(), ["4 Ok", "1 Ok", "2 Ok", "3 Ok"]);
    }
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn who_is_out_of_time_or_gone_is_not_sent_again_after_its_batch_was_refused() {
    let mut bench = Bench::folding();
    bench.publish("a");
    bench.publish_within("a", SECOND);
    bench.publish_all("aa");
    bench.hand_over();
    bench.wait(SECOND);
    bench.cancel(3);
    let settlement = bench.refuse("E_BAD_MESSAGE MPUB invalid message");
    assert_eq!(settlement.requeued, 3);
    assert_eq!(bench.hand_over(), ["PUB a 1", "PUB a 4"]);
    let told = ["2 Timeout MaybeWritten", "3 Closed NotWritten"];
    assert_eq!(bench.told(), told);
    assert_eq!(bench.held(), (2, 2));
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn when_more_follows_the_refusal_of_a_batch_it_is_lost_like_all_that_was_in_flight() {
    let mut bench = Bench::folding();
    bench.publish_all("aa");
    bench.hand_over();
    bench
        .queue()
        .on_error(&refusal("E_BAD_MESSAGE MPUB no"))
        .unwrap();
    let taken = bench.handed;
    bench.lose(taken);
    let told = [1, 2].map(|id| format!("{id} ConnectionLost MaybeWritten"));
    assert_eq!(bench.told(), told);
}
