//! Lost connections: what is retried, in which order, and what is ambiguous.

use super::*;

/// contract: 3, 4
#[test]
fn written_is_ambiguous_and_partly_written_is_retried() {
    let size = pub_size(1);
    for (more, retried) in [(0, 2), (1, 2), (size - 1, 2), (size, 1), (size + 1, 1)] {
        let mut bench = Bench::new();
        bench.publish("a");
        bench.multi_publish("a", 1);
        bench.publish_all("aa");
        bench.send();
        bench.lose(size + mpub_size(2) + more);
        let answers = [
            "1 ConnectionLost MaybeWritten",
            "2 ConnectionLost MaybePartial",
            "3 ConnectionLost MaybeWritten",
        ];
        assert_eq!(bench.take_answers(), answers[..4 - retried]);
        assert_eq!(bench.send(), ["PUB a 3", "PUB a 4"][2 - retried..]);
    }
}

/// contract: 4
#[test]
fn retry_maybe_written_retries_written_publishes() {
    let mut bench = Bench::retrying(WIDE);
    bench.publish_all("aaaa");
    bench.send();
    bench.lose(2 * pub_size(1) + 1);
    bench.answers([]);
    bench.sends(["PUB a 1", "PUB a 2", "PUB a 3", "PUB a 4"]);
    bench.oks(4);
    bench.answers_each([1, 2, 3, 4], "Ok");
}

/// contract: 3
#[test]
fn maybe_written_publish_is_never_not_written_later() {
    type Event = fn(&mut Bench);
    let events: [(&str, Event); 4] = [
        ("Timeout", |bench| bench.wait(30 * SECOND)),
        ("Closed", |bench| bench.queue = None),
        ("Rejected(BadMessage)", |bench| {
            // The limit rejects the second before it is sent.
            bench.send();
            bench.reject("E_BAD_MESSAGE PUB message too big 1 > 0");
            bench.send();
        }),
        // The next connection certainly did not store them.
        ("Timeout", |bench| {
            bench.send();
            bench.lose(0);
            bench.wait(30 * SECOND);
        }),
    ];
    for (kind, event) in events {
        let mut bench = Bench::retrying(WIDE);
        bench.publish("a");
        bench.multi_publish("a", 8);
        bench.send();
        bench.lose(u64::MAX);
        bench.answers([]);
        event(&mut bench);
        let answers = [
            format!("1 {kind} MaybeWritten"),
            format!("2 {kind} MaybePartial"),
        ];
        assert_eq!(bench.take_answers(), answers);
    }
}

/// contract: 4, 9
#[test]
fn retried_publishes_precede_younger_ones() {
    let mut bench = Bench::new();
    bench.publish_all("abac");
    bench.send();
    bench.publish("a");
    bench.reject("E_PUB_FAILED PUB failed");
    bench.publish("b");
    bench.sends(["PUB b 2", "PUB a 3", "PUB c 4", "PUB a 5", "PUB b 6"]);
    bench.lose(0);
    bench.publish("c");
    let commands = bench.send();
    assert_eq!(commands[..2], ["PUB b 2", "PUB a 3"]);
    assert_eq!(commands[4..], ["PUB b 6", "PUB c 7"]);
}

/// contract: 3, 4
#[test]
fn batch_is_ambiguous_or_retried_as_a_whole() {
    let size = mpub_size(2);
    for written in [size, size + 1, 2 * size - 1] {
        let mut bench = Bench::batching_within(2, 900_000);
        bench.publish_all("aaaaaa");
        bench.send();
        let outcome = bench.lose(written);
        assert_eq!((outcome.maybe_written, outcome.requeued), (2, 4));
        bench.answers_each([1, 2], "ConnectionLost MaybeWritten");
        bench.sends(["MPUB a 3 4", "MPUB a 5 6"]);
    }
    // A retried batch is formed anew.
    let mut bench = Bench::batching();
    bench.publish_all("aaa");
    bench.send();
    bench.cancel(2);
    bench.lose(mpub_size(3) - 1);
    bench.publish("a");
    bench.sends(["MPUB a 1 3 4"]);
}

/// contract: 3
#[test]
fn frames_after_an_error_make_the_rest_ambiguous() {
    let mut bench = Bench::new();
    bench.publish_all("aaa");
    bench.send();
    bench.error("E_PUB_FAILED").unwrap();
    bench.lose(2 * pub_size(1));
    bench.answers([
        "1 Rejected(PubFailed) NotWritten",
        "2 ConnectionLost MaybeWritten",
    ]);
    bench.sends(["PUB a 3"]);
}
