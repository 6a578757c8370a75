//! Error responses: which publishes fail, and what is retried.

use super::*;

/// contract: 3, 4
#[test]
fn mpub_failed_and_unknown_codes_are_ambiguous() {
    // Also with retry_maybe_written, which concerns lost connections only.
    let mut bench = Bench::retrying(WIDE);
    bench.multi_publish("a", 1);
    bench.publish("a");
    for (text, answer) in [
        (
            "E_MPUB_FAILED MPUB failed no space",
            "1 Rejected(MpubFailed) MaybePartial",
        ),
        ("", "2 Rejected(Unknown) MaybeWritten"),
    ] {
        bench.send();
        bench.reject(text);
        bench.answers([answer]);
    }
    bench.sends([]);
    for (text, code) in [
        ("E_MPUB_FAILED MPUB failed", "MpubFailed"),
        ("E_SHINY something new", "Unknown"),
    ] {
        let (mut bench, commands) = reject_batch(text);
        bench.answers_each([1, 2, 3], &format!("Rejected({code}) MaybeWritten"));
        assert_eq!(commands, ["PUB b 4"]);
    }
}

/// contract: 3, 4
#[test]
fn rejection_does_not_affect_other_publishes() {
    for text in [
        "E_INVALID DPUB timeout 9 out of range",
        "E_PUB_FAILED PUB failed exiting",
        "E_BAD_MESSAGE PUB invalid message body size 0",
        "E_AUTH_FAILED AUTH failed",
    ] {
        let mut bench = Bench::new();
        bench.publish_all("aba");
        bench.send();
        bench.reject(text);
        let code = server_error(text).code();
        bench.answers_each([1], &format!("Rejected({code:?}) NotWritten"));
        assert_eq!(bench.latest_error(), format!("rejected by nsqd: {text}"));
        bench.sends(["PUB b 2", "PUB a 3"]);
        bench.oks(2);
        bench.answers(["2 Ok", "3 Ok"]);
    }
}

/// contract: 3, 4
#[test]
fn topic_rejection_answers_all_publishes_of_the_topic() {
    for (text, code) in [
        ("E_BAD_TOPIC PUB topic name is not valid", "BadTopic"),
        ("E_UNAUTHORIZED PUB failed", "Unauthorized"),
    ] {
        let rejected = format!("Rejected({code}) NotWritten");
        let mut bench = Bench::with(Limits {
            window: usage(4, 100),
            ..WIDE
        });
        bench.publish_all("ababab");
        bench.multi_publish("a", 1);
        bench.send();
        bench.error(text).unwrap();
        bench.answers_each([1, 3, 5, 7], &rejected);
        // What was in flight is held until the connection has ended.
        assert_eq!(bench.held(), (4, 4));
        bench.queue().on_disconnected(ConnectionEnd::Rejected);
        assert_eq!(bench.held(), (3, 3));
        bench.out = Outbox::new();
        // Later publishes of the topic are sent.
        bench.publish("a");
        bench.sends(["PUB b 2", "PUB b 4", "PUB b 6", "PUB a 8"]);

        let mut bench = Bench::batching_within(2, 900_000);
        bench.publish_all("aaaba");
        bench.send();
        bench.publish_all("ba");
        bench.reject(text);
        let mut answers = bench.take_answers();
        answers.sort();
        assert_eq!(
            answers,
            [1, 2, 3, 5, 7].map(|id| format!("{id} {rejected}"))
        );
        bench.sends(["MPUB b 4 6"]);
    }
}

/// contract: 4
#[test]
fn slow_upload_is_retried_until_its_deadline() {
    for text in [
        "E_BAD_MESSAGE MPUB failed to read message(1) body",
        "E_BAD_BODY MPUB failed to read message count",
    ] {
        let mut bench = Bench::new();
        bench.publish_all("aa");
        bench.send();
        bench.reject(text);
        bench.sends(["PUB a 1", "PUB a 2"]);
        bench.reject(text);
        bench.wait(30 * SECOND);
        bench.answers_each([1, 2], "Timeout NotWritten");

        let (mut bench, commands) = reject_batch(text);
        assert_eq!(commands, ["PUB b 4", "MPUB a 1 2 3"]);
        bench.oks(2);
        bench.answers(["4 Ok", "1 Ok", "2 Ok", "3 Ok"]);
    }
}

/// A batch of three that is rejected, one publish of another topic, and what is sent next.
fn reject_batch(text: &str) -> (Bench, Vec<String>) {
    let mut bench = Bench::batching();
    bench.publish_all("aaab");
    bench.sends(["MPUB a 1 2 3", "PUB b 4"]);
    bench.reject(text);
    let commands = bench.send();
    (bench, commands)
}

/// contract: 3, 4, 9
#[test]
fn rejected_batch_is_retried_one_by_one() {
    for text in [
        "E_BAD_MESSAGE MPUB invalid message(1) body size -5",
        "E_BAD_BODY MPUB invalid message count 0",
        "E_INVALID MPUB no",
        "E_AUTH_FAILED AUTH failed",
        "E_PUB_FAILED PUB failed",
    ] {
        let (mut bench, commands) = reject_batch(text);
        bench.answers([]);
        assert_eq!(commands, ["PUB b 4", "PUB a 1", "PUB a 2", "PUB a 3"]);
        bench.oks(2);
        bench.reject("E_BAD_MESSAGE PUB invalid message body size -5");
        bench.answers(["4 Ok", "1 Ok", "2 Rejected(BadMessage) NotWritten"]);
        bench.sends(["PUB a 3"]);
        bench.ok();
        bench.answers(["3 Ok"]);
    }
}

/// contract: 4
#[test]
fn members_of_a_rejected_batch_stay_single() {
    let (mut bench, _) = reject_batch("E_BAD_MESSAGE MPUB invalid message");
    bench.lose(0);
    bench.publish_all("aabb");
    bench.queue().on_connected(SECOND);
    bench.sends([
        "MPUB b 4 7 8",
        "PUB a 1",
        "PUB a 2",
        "PUB a 3",
        "MPUB a 5 6",
    ]);

    let mut bench = Bench::batching_within(2, 900_000);
    bench.publish_all("aaaa");
    bench.send();
    assert_eq!(bench.reject("E_BAD_MESSAGE MPUB no").requeued, 4);
    bench.sends(["PUB a 1", "PUB a 2", "MPUB a 3 4"]);
}

/// contract: 4
#[test]
fn batching_is_suspended_until_nsqd_stores_again() {
    for text in [
        "E_PUB_FAILED PUB no",
        "E_DPUB_FAILED DPUB no",
        "E_MPUB_FAILED MPUB no",
    ] {
        let mut bench = Bench::batching();
        bench.publish("a");
        bench.send();
        bench.reject(text);
        bench.publish_all("bbaa");
        bench.ping();
        let commands = ["IDENTIFY {}", "PUB b 2", "PUB a 4", "PUB b 3", "PUB a 5"];
        bench.sends(commands);
        // Neither a new connection nor the response to a ping ends the suspension.
        bench.lose(0);
        bench.sends(commands);
        bench.ok();
        bench.publish_all("bb");
        bench.sends(["PUB b 7", "PUB b 8"]);
        // An OK does, for the topic that failed its own.
        bench.ok();
        bench.publish_all("bbaa");
        bench.sends(["PUB a 11", "PUB a 12", "MPUB b 9 10"]);
        bench.ok();
        bench.publish_all("aa");
        bench.sends(["MPUB a 13 14"]);
    }
}

#[test]
fn limit_named_by_nsqd_costs_one_connection() {
    let mut bench = Bench::new();
    for _ in 0..500 {
        bench.publish_sized("large", 20);
        bench.publish_sized("small", 10);
    }
    let commands = bench.send();
    assert_eq!(commands[0], "PUB large 1");
    bench.reject("E_BAD_MESSAGE PUB message too big 20 > 10");
    loop {
        let commands = bench.send();
        if commands.is_empty() {
            break;
        }
        assert!(
            commands
                .iter()
                .all(|command| command.starts_with("PUB small "))
        );
        bench.oks(commands.len());
    }
    assert!(bench.queue().is_empty());
    let counters = bench.queue().counters();
    assert_eq!((counters.ok, counters.not_written), (500, 500));
    let text = bench.latest_error();
    assert!(text.contains("20 bytes"), "{text}");
}

/// What is sent of these after these error responses: PUBs of 11 and 10 bytes, MPUBs of two
/// messages of 11, 6 and 5 bytes (34, 24 and 22 bytes in all), a DPUB of 11 bytes.
fn sent_after(texts: &[&str]) -> Vec<String> {
    let mut bench = Bench::new();
    for text in texts {
        bench.queue().server_limits.learn(&server_error(text));
    }
    bench.publish_sized("a", 11);
    bench.publish_sized("a", 10);
    for size in [11, 6, 5] {
        bench.multi_publish("a", size);
    }
    let body = bench.body(11);
    let payload = Payload::deferred(body, 5);
    bench.push("a", payload, SECOND, WhenFull::Reject);
    bench.send()
}

#[test]
fn named_limit_applies_to_messages_or_batches() {
    let message = "E_BAD_MESSAGE MPUB message too big 20 > 10";
    assert_eq!(
        sent_after(&[message]),
        ["PUB a 2", "MPUB a 4 4", "MPUB a 5 5"]
    );
    let batch = "E_BAD_BODY MPUB body too big 30 > 22";
    let commands = ["PUB a 1", "PUB a 2", "MPUB a 5 5", "DPUB a 5 6"];
    assert_eq!(sent_after(&[batch]), commands);
    // The latest limit of each kind applies.
    let smaller = "E_BAD_MESSAGE PUB message too big 20 > 5";
    let commands = ["PUB a 2", "MPUB a 5 5"];
    assert_eq!(sent_after(&[smaller, batch, message]), commands);
    let others = [
        "E_INVALID other too big 30 > 1",
        "E_BAD_MESSAGE PUB invalid size 0",
    ];
    assert_eq!(sent_after(&others).len(), 6);
}

#[test]
fn named_limit_is_forgotten_when_a_connection_is_lost() {
    let mut bench = Bench::new();
    bench.publish_within("a", SECOND);
    bench.publish("a");
    bench.send();
    bench.wait(SECOND);
    // It applies even if the rejected publish was answered already, and after other rejections.
    bench.reject("E_BAD_MESSAGE PUB message too big 20 > 10");
    bench.send();
    bench.reject("E_PUB_FAILED PUB failed");
    bench.take_answers();
    bench.publish_sized("a", 20);
    bench.sends([]);
    bench.answers(["3 Rejected(BadMessage) NotWritten"]);
    bench.lose(0);
    bench.publish_sized("a", 20);
    bench.sends(["PUB a 4"]);
}

/// contract: 3
#[test]
fn named_limits_apply_to_the_members_of_a_batch() {
    let mut bench = Bench::batching();
    for size in [10, 11, 10, 20] {
        bench.publish_sized("a", size);
    }
    bench.send();
    bench.reject("E_BAD_MESSAGE MPUB message too big 11 > 10");
    bench.answers([]);
    bench.sends(["PUB a 1", "PUB a 3"]);
    bench.answers_each([2, 4], "Rejected(BadMessage) NotWritten");

    // A limit for batches also limits the size of automatic ones, until a connection is lost.
    let mut bench = Bench::batching();
    bench.publish_all("aaa");
    bench.send();
    bench.reject("E_BAD_BODY MPUB body too big 19 > 14");
    bench.sends(["PUB a 1", "PUB a 2", "PUB a 3"]);
    bench.oks(3);
    bench.publish_all("aaa");
    bench.sends(["MPUB a 4 5", "PUB a 6"]);
    bench.oks(2);
    bench.lose(0);
    bench.publish_all("aaa");
    bench.sends(["MPUB a 7 8 9"]);
}
