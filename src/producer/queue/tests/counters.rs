//! Counters, usage and latency.

use super::*;

/// What is queued and in flight is what is held.
#[track_caller]
fn assert_usage(bench: &mut Bench, queued: (usize, usize), in_flight: (usize, usize)) {
    let pair = |usage: Usage| (usage.publishes, usage.bytes);
    assert_eq!(pair(bench.queue().queued()), queued, "queued");
    assert_eq!(pair(bench.queue().in_flight()), in_flight, "in flight");
    let held = (queued.0 + in_flight.0, queued.1 + in_flight.1);
    assert_eq!(bench.held(), held, "held");
}

/// checklist: 103, 104
#[test]
fn usage_counts_queued_and_in_flight() {
    let mut bench = Bench::with(Limits {
        window: usage(3, 1 << 16),
        ..WIDE
    });
    assert_usage(&mut bench, (0, 0), (0, 0));
    for size in [1, 20, 300, 4000] {
        bench.publish_sized("a", size);
    }
    assert_usage(&mut bench, (4, 4321), (0, 0));
    bench.ping();
    bench.send();
    assert_usage(&mut bench, (1, 4000), (3, 321));
    bench.oks(2);
    assert_usage(&mut bench, (1, 4000), (2, 320));
    bench.send();
    assert_usage(&mut bench, (0, 0), (3, 4320));
    bench.lose(0);
    assert_usage(&mut bench, (3, 4320), (0, 0));
}

/// checklist: 104
#[test]
fn batches_and_their_publishes_are_counted() {
    let mut bench = Bench::batching();
    bench.publish_all("aaab");
    bench.ping();
    bench.multi_publish("c", 1);
    assert_eq!(bench.send().len(), 4);
    let Counters {
        commands,
        batches,
        batched,
        ..
    } = bench.queue().counters();
    assert_eq!((commands, batches, batched), (3, 1, 3));
    // A command that is sent again counts again.
    bench.lose(0);
    bench.send();
    assert_eq!(bench.queue().counters().commands, 6);
}

/// checklist: 105
#[test]
fn latency_is_from_acceptance_to_ok() {
    let mut bench = Bench::batching();
    bench.wait(7 * SECOND);
    bench.publish("a");
    bench.publish_within("a", 3 * SECOND);
    bench.wait(SECOND);
    bench.publish("a");
    bench.publish("b");
    bench.send();
    bench.wait(SECOND);
    bench.lose(0);
    bench.wait(SECOND);
    bench.answers(["2 Timeout NotWritten"]);
    bench.sends(["MPUB a 1 3", "PUB b 4"]);
    bench.ok();
    let latency = bench.queue().latency();
    assert_eq!((latency.count(), latency.sum()), (2, 5 * SECOND));
    assert_eq!(latency.max(), Some(3 * SECOND));
    // Neither a rejection nor a late OK has one.
    bench.reject("E_PUB_FAILED PUB failed");
    bench.publish_within("b", SECOND);
    bench.send();
    bench.wait(SECOND);
    bench.ok();
    assert_eq!(bench.queue().latency(), latency);
}

#[test]
fn results_are_counted_by_topic_up_to_the_limit() {
    let mut bench = Bench::with(Limits {
        topic_stats: Some(2),
        ..WIDE
    });
    for topic in ["b", "a", "c", "b", "d"] {
        bench.publish(topic);
    }
    bench.send();
    bench.oks(3);
    // The lost connection may have executed the others.
    let written = bench.sent;
    bench.lose(written);
    // It expires in the queue.
    bench.publish_within("a", SECOND);
    bench.wait(SECOND);
    let stats = bench.queue().capacity().topic_stats();
    let counts = stats.iter().map(|it| {
        let topic = it.topic.as_ref().map_or("others", AsRef::as_ref);
        (topic, it.ok, it.not_written, it.maybe_written)
    });
    assert_eq!(
        counts.collect::<Vec<_>>(),
        [("a", 1, 1, 0), ("b", 1, 0, 1), ("others", 1, 0, 1)]
    );
}
