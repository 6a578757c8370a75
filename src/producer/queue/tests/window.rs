//! How much is in flight: the window, and the limits that follow the round trip.

use super::*;

/// contract: 6
#[test]
fn window_limits_publishes_and_bytes_in_flight() {
    let mut bench = Bench::with(Limits {
        window: usage(3, 20),
        ..WIDE
    });
    for size in [10, 10, 1, 1, 1, 1] {
        bench.publish_sized("a", size);
    }
    bench.sends(["PUB a 1", "PUB a 2"]);
    bench.sends([]);
    bench.oks(2);
    bench.sends(["PUB a 3", "PUB a 4", "PUB a 5"]);
    bench.ok();
    bench.sends(["PUB a 6"]);
    // A new connection starts with an empty window.
    bench.lose(0);
    bench.sends(["PUB a 4", "PUB a 5", "PUB a 6"]);
}

#[test]
fn one_publish_may_exceed_the_window() {
    let mut bench = Bench::with(Limits {
        window: usage(1, 1),
        ..WIDE
    });
    bench.ping();
    bench.publish_sized("a", 50_000);
    bench.publish_sized("a", 50_000);
    bench.sends(["IDENTIFY {}", "PUB a 2"]);
    bench.oks(2);
    bench.sends(["PUB a 3"]);
}

/// Publishes to this many topics, and returns the number of commands sent.
fn send_topics(bench: &mut Bench, topics: usize) -> usize {
    for topic in 0..topics {
        bench.publish(&format!("topic{topic}"));
    }
    bench.send().len()
}

#[test]
fn longer_round_trip_allows_more_commands() {
    for (micros, commands) in [(0, 8), (49, 8), (50, 9), (99, 9), (1_000, 28)] {
        let mut bench = Bench::batching();
        bench.queue().on_connected(Duration::from_micros(micros));
        assert_eq!(send_topics(&mut bench, 50), commands, "{micros} us");
    }
    // Without batching there is no such limit.
    let mut bench = Bench::new();
    assert_eq!(send_topics(&mut bench, 90), 90);
}

#[test]
fn shortest_round_trip_of_a_connection_counts() {
    let mut bench = Bench::batching();
    bench.queue().on_connected(Duration::from_micros(1_000));
    assert_eq!(send_topics(&mut bench, 40), 28);
    bench.wait(Duration::from_micros(500));
    bench.ok();
    // 18 are allowed now, and 27 are in flight.
    bench.sends([]);
    bench.oks(10);
    assert_eq!(bench.send().len(), 1);
    // A longer one changes nothing.
    bench.wait(SECOND);
    bench.oks(18);
    assert_eq!(send_topics(&mut bench, 50), 18);
    bench.lose(0);
    bench.queue().on_connected(Duration::from_micros(100));
    assert_eq!(bench.send().len(), 10);
}

#[test]
fn pings_do_not_count_as_commands() {
    let mut bench = Bench::batching();
    for _ in 0..10 {
        bench.ping();
    }
    assert_eq!(send_topics(&mut bench, 10), 10 + 8);
    bench.ping();
    bench.sends(["IDENTIFY {}"]);
    bench.oks(10);
    bench.sends([]);
    bench.ok();
    assert_eq!(bench.send().len(), 1);
}

#[test]
fn longer_round_trip_allows_more_publishes() {
    let wide = usage(2_000, 1 << 20);
    let mut bench = Bench::with(Limits {
        pending: wide,
        window: wide,
        batch: Some(Batch {
            messages: 255,
            bytes: 900_000,
        }),
        ..WIDE
    });
    bench.publish_all(&"a".repeat(1_000));
    let sent = |bench: &mut Bench| {
        let commands = bench.send();
        let members = commands
            .iter()
            .map(|command| command.split(' ').count() - 2);
        members.collect::<Vec<_>>()
    };
    assert_eq!(sent(&mut bench), [255, 255]);
    bench.ok();
    assert_eq!(sent(&mut bench), [255]);
    // Each microsecond allows one more.
    bench.lose(0);
    bench.queue().on_connected(Duration::from_micros(256));
    assert_eq!(sent(&mut bench), [255, 255, 235]);
}

/// A topic with 24 publishes in flight: of 8 commands that are allowed, its next has at least 3.
fn many_in_flight(limits: Limits) -> Bench {
    let mut bench = Bench::with(limits);
    bench.publish_all(&"a".repeat(24));
    assert_eq!(bench.send().len(), 1);
    bench
}

#[test]
fn batch_waits_for_more_when_its_topic_is_in_flight() {
    let mut bench = many_in_flight(BATCHING);
    bench.publish_all("aa");
    bench.sends([]);
    bench.publish("b");
    bench.sends(["PUB b 27"]);
    bench.publish("a");
    bench.sends(["MPUB a 25 26 28"]);
    bench.publish("a");
    bench.sends([]);
    // With fewer in flight, fewer are enough; those that timed out count until their response.
    bench.wait(30 * SECOND);
    bench.publish("a");
    bench.sends([]);
    bench.ok();
    bench.sends(["PUB a 30"]);
}

#[test]
fn publish_that_is_not_batched_does_not_wait_for_more() {
    let mut bench = many_in_flight(Limits {
        window: usage(100, 1 << 20),
        ..BATCHING
    });
    bench.defer("a", 5);
    bench.sends(["DPUB a 5 25"]);
    bench.multi_publish("a", 1);
    bench.sends(["MPUB a 26 26"]);
    bench.publish_sized("a", (64 << 10) + 1);
    bench.sends(["PUB a 27"]);
    bench.publish_sized("a", 64 << 10);
    bench.sends([]);
}
