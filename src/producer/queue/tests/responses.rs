//! Which publish a response completes, and what is answered when the queue ends.

use super::*;

/// contract: 2
#[test]
fn ok_completes_the_oldest_command() {
    let mut bench = Bench::new();
    bench.publish("a");
    bench.multi_publish("b", 1);
    bench.defer("a", 250);
    bench.sends(["PUB a 1", "MPUB b 2 2", "DPUB a 250 3"]);
    bench.answers([]);
    for answer in ["1 Ok", "2 Ok", "3 Ok"] {
        bench.ok();
        bench.answers([answer]);
    }
    assert!(bench.queue().is_empty());
    assert_eq!(bench.held(), (0, 0));
}

/// contract: 2, 7
#[test]
fn late_response_of_timed_out_publish_is_discarded() {
    let mut bench = Bench::new();
    bench.publish("a");
    bench.publish_within("a", SECOND);
    bench.publish_within("a", SECOND);
    bench.publish("a");
    bench.send();
    bench.wait(SECOND);
    bench.answers_each([2, 3], "Timeout MaybeWritten");
    bench.ok();
    bench.answers(["1 Ok"]);
    bench.ok();
    bench.answers([]);
    bench.reject("E_PUB_FAILED PUB failed");
    bench.answers([]);
    bench.sends(["PUB a 4"]);
    bench.ok();
    bench.answers(["4 Ok"]);
}

/// contract: 7
#[test]
fn publish_cancelled_in_flight_keeps_its_entry() {
    let mut bench = Bench::new();
    bench.publish("a");
    bench.publish("a");
    bench.send();
    bench.cancel(1);
    bench.publish("a");
    bench.cancel(3);
    bench.sends([]);
    bench.answers(["3 Closed NotWritten"]);
    bench.oks(2);
    bench.answers(["1 Ok", "2 Ok"]);
}

/// contract: 2
/// fault: P18
#[test]
fn ok_without_command_in_flight_is_an_error() {
    let mut bench = Bench::new();
    bench.publish("a");
    assert!(bench.ok_after(u64::MAX).is_err());
    bench.send();
    bench.ok();
    assert!(bench.ok_after(u64::MAX).is_err());
    bench.answers(["1 Ok"]);
}

/// contract: 2
/// fault: P18
#[test]
fn ok_for_partly_written_command_is_an_error() {
    let mut bench = Bench::batching();
    bench.publish("b");
    bench.publish_all("aa");
    bench.ping();
    bench.sends(["IDENTIFY {}", "PUB b 1", "MPUB a 2 3"]);
    let mut end = 0;
    let identify = "IDENTIFY\n{}".len() as u64 + 4;
    for (size, answers) in [
        (identify, &["4 Ok"][..]),
        (pub_size(1), &["1 Ok"]),
        (mpub_size(2), &["2 Ok", "3 Ok"]),
    ] {
        end += size;
        assert!(bench.ok_after(end - 1).is_err());
        bench.answers([]);
        bench.ok_after(end).unwrap();
        assert_eq!(bench.take_answers(), answers);
    }
}

/// fault: P18
#[test]
fn error_without_command_in_flight_is_an_error() {
    let mut bench = Bench::new();
    bench.publish("a");
    for text in [
        "E_UNAUTHORIZED PUB failed",
        "E_BAD_MESSAGE PUB message too big 20 > 0",
        "E_BAD_MESSAGE PUB failed to read message body",
    ] {
        assert!(bench.error(text).is_err());
    }
    bench.answers([]);
    bench.sends(["PUB a 1"]);
}

/// contract: 1, 3
#[test]
fn fail_all_and_drop_answer_everything() {
    for (kind, fail) in [
        ("Closed", (|bench| bench.queue = None) as fn(&mut Bench)),
        ("Drained", |bench| bench.queue().fail_all(&Cause::Drained)),
    ] {
        let mut bench = Bench::with(Limits {
            pending: usage(4, 100),
            window: usage(2, 100),
            ..WIDE
        });
        bench.publish("a");
        bench.multi_publish("a", 1);
        bench.publish("a");
        bench.multi_publish("a", 1);
        bench.publish_waiting(1, SECOND);
        bench.send();
        fail(&mut bench);
        let answers = [
            format!("1 {kind} MaybeWritten"),
            format!("2 {kind} MaybePartial"),
            format!("3 {kind} NotWritten"),
            format!("4 {kind} NotWritten"),
            format!("5 {kind} NotWritten"),
        ];
        assert_eq!(bench.take_answers(), answers);
    }
}

/// contract: 1
#[test]
fn failed_publishes_are_not_answered_again() {
    let mut bench = Bench::new();
    bench.publish_all("aaaa");
    bench.send();
    bench.queue().fail_all(&Cause::Drained);
    bench.answers_each([1, 2, 3, 4], "Drained MaybeWritten");
    bench.wait(60 * SECOND);
    bench.ok();
    bench.error("E_UNAUTHORIZED").unwrap();
    bench.lose(u64::MAX);
    bench.queue().fail_all(&Cause::Drained);
    bench.queue = None;
    bench.answers([]);
}
