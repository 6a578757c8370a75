//! Timeouts and cancelled publishes.

use super::*;

/// contract: 3, 7
#[test]
fn timeout_before_sending_is_not_written() {
    let mut bench = Bench::new();
    bench.publish_within("a", SECOND);
    bench.publish("a");
    bench.wait(SECOND);
    bench.answers(["1 Timeout NotWritten"]);
    assert_eq!(bench.held(), (1, 1));
    let text = "not sent within 1s; last connection error: closed by the peer";
    assert_eq!(bench.latest_error(), text);
    bench.sends(["PUB a 2"]);
}

/// contract: 3, 7
#[test]
fn timeout_in_flight_is_maybe_written() {
    let mut bench = Bench::new();
    bench.publish_within("a", SECOND);
    bench.send();
    bench.wait(SECOND);
    bench.answers(["1 Timeout MaybeWritten"]);
    let text = "sent, but nsqd did not respond within 1s";
    assert_eq!(bench.latest_error(), text);
    // Whatever the transport accepted, it is not sent again.
    bench.lose(0);
    bench.answers([]);
    bench.sends([]);
}

#[test]
fn deadline_passes_at_its_exact_time() {
    let mut bench = Bench::new();
    bench.publish_within("a", SECOND);
    bench.wait(SECOND - Duration::from_nanos(1));
    bench.answers([]);
    bench.wait(Duration::from_nanos(1));
    bench.answers(["1 Timeout NotWritten"]);
}

#[test]
fn next_deadline_is_never_too_late() {
    let mut bench = Bench::new();
    let start = bench.now;
    let expect = |bench: &mut Bench, seconds: Option<u32>| {
        let expected = seconds.map(|seconds| start + seconds * SECOND);
        assert_eq!(bench.queue().next_deadline(), expected);
    };
    expect(&mut bench, None);
    bench.publish_within("a", 3 * SECOND);
    expect(&mut bench, Some(3));
    bench.publish_within("a", 5 * SECOND);
    expect(&mut bench, Some(3));
    bench.publish_within("a", SECOND);
    expect(&mut bench, Some(1));
    bench.send();
    bench.wait(SECOND);
    bench.answers(["3 Timeout MaybeWritten"]);
    expect(&mut bench, Some(3));
    // The first is answered meanwhile; the next check finds that out.
    bench.ok();
    bench.wait(2 * SECOND);
    bench.answers(["1 Ok"]);
    expect(&mut bench, Some(5));
    // A retry does not change the deadline.
    bench.reject("E_BAD_MESSAGE PUB failed to read message body");
    expect(&mut bench, Some(5));
    bench.wait(2 * SECOND);
    bench.answers(["2 Timeout NotWritten"]);
    expect(&mut bench, None);
}

#[test]
fn maximum_timeout_does_not_overflow() {
    let mut bench = Bench::new();
    bench.publish_within("a", Duration::MAX);
    bench.wait(1_000_000 * SECOND);
    bench.answers([]);
    assert!(bench.queue().next_deadline().is_some());
}

#[test]
fn many_expired_publishes_are_removed_in_one_pass() {
    let many = 100_000;
    let wide = usage(2 * many + 1, 1 << 30);
    let mut bench = Bench::with(Limits {
        pending: wide,
        window: wide,
        ..WIDE
    });
    for _ in 0..many {
        bench.publish("a");
    }
    assert_eq!(bench.send().len(), many);
    for _ in 0..many {
        bench.publish_within("a", SECOND);
    }
    let last = bench.publish("a");
    bench.now += SECOND;
    let start = Instant::now();
    assert_eq!(bench.send(), [format!("PUB a {last}")]);
    // One by one, each would move all that are in flight, which takes 15 s.
    assert!(start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
    let answers = bench.take_answers();
    assert_eq!(answers.len(), many);
    let is_timeout = |answer: &String| answer.ends_with(" Timeout NotWritten");
    assert!(answers.iter().all(is_timeout));
}
