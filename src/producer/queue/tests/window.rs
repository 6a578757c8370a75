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

/// Batches of a single publish.
fn batching_singles() -> Bench {
    Bench::batching_within(1, 900_000)
}

/// Publishes this many times to a topic, and returns the number of commands sent.
fn send_singles(bench: &mut Bench, publishes: usize) -> usize {
    bench.publish_all(&"a".repeat(publishes));
    bench.send().len()
}

#[test]
fn longer_round_trip_allows_more_commands() {
    for (micros, commands) in [(0, 8), (49, 8), (50, 9), (99, 9), (1_000, 28)] {
        let mut bench = batching_singles();
        bench.queue().on_connected(Duration::from_micros(micros));
        assert_eq!(send_singles(&mut bench, 50), commands, "{micros} us");
    }
    // Without batching there is no such limit.
    let mut bench = Bench::new();
    assert_eq!(send_singles(&mut bench, 90), 90);
}

#[test]
fn only_a_topic_in_flight_that_can_be_batched_is_limited() {
    let mut bench = Bench::batching_within(1, 900_000);
    for topic in 0..50 {
        bench.publish(&format!("topic{topic}"));
    }
    assert_eq!(bench.send().len(), 50);
    bench.publish("topic0");
    bench.sends([]);
    for _ in 0..20 {
        bench.defer("deferred", 5);
        bench.multi_publish("many", 2);
    }
    assert_eq!(bench.send().len(), 40);
    bench.ok();
    bench.sends(["PUB topic0 51"]);
}

#[test]
fn shorter_round_trip_counts_at_once() {
    let mut bench = batching_singles();
    bench.queue().on_connected(Duration::from_micros(1_000));
    assert_eq!(send_singles(&mut bench, 40), 28);
    bench.wait(Duration::from_micros(500));
    bench.ok();
    // 18 are allowed now, and 27 are in flight.
    bench.sends([]);
    bench.oks(10);
    assert_eq!(bench.send().len(), 1);
    bench.lose(0);
    bench.queue().on_connected(Duration::from_micros(100));
    assert_eq!(bench.send().len(), 10);
}

#[test]
fn longer_round_trip_is_measured_with_nothing_in_flight() {
    let millis = Duration::from_millis;
    let mut bench = batching_singles();
    assert_eq!(send_singles(&mut bench, 60), 8);
    // Responses take long, because of the distance or of other work in nsqd.
    bench.wait(millis(20));
    bench.oks(7);
    assert_eq!(bench.send().len(), 7);
    bench.wait(millis(20));
    bench.oks(7);
    bench.sends([]);
    bench.ok();
    bench.sends(["PUB a 16"]);
    // It confirms what the first publish has measured.
    bench.wait(millis(20));
    bench.ok();
    assert!(bench.send().len() > 8);
}

#[test]
fn pings_do_not_count_as_commands() {
    let mut bench = batching_singles();
    for _ in 0..10 {
        bench.ping();
    }
    assert_eq!(send_singles(&mut bench, 10), 10 + 8);
    bench.ping();
    bench.sends(["IDENTIFY {}"]);
    bench.oks(10);
    bench.sends([]);
    bench.ok();
    assert_eq!(bench.send().len(), 1);
}

/// Numbers of publishes of the commands sent.
fn batches(bench: &mut Bench) -> Vec<usize> {
    let commands = bench.send();
    let members = commands.iter().map(|line| line.split(' ').count() - 2);
    members.collect()
}

/// One publish is answered after this time, which shows how fast nsqd is and how far.
fn measured(limits: Limits, round_trip: Duration, service: Duration) -> Bench {
    let mut bench = Bench::with(limits);
    bench.queue().on_connected(round_trip);
    bench.publish("a");
    bench.send();
    bench.wait(round_trip + service);
    bench.ok();
    bench
}

/// The same, and batches that grow were answered as fast.
fn measured_by_batches(limits: Limits, round_trip: Duration, service: Duration) -> Bench {
    let mut bench = measured(limits, round_trip, service);
    for _ in 0..3 {
        bench.publish_all(&"a".repeat(300));
        loop {
            let sent = batches(&mut bench);
            if sent.is_empty() {
                break;
            }
            bench.now += round_trip;
            for publishes in sent {
                bench.now += service * u32::try_from(publishes).unwrap();
                bench.ok();
            }
        }
    }
    bench
}

#[test]
fn longer_round_trip_allows_more_publishes() {
    let wide = usage(2_000, 1 << 20);
    let limits = Limits {
        pending: wide,
        window: wide,
        batch: Some(Batch {
            messages: 255,
            bytes: 900_000,
        }),
        ..WIDE
    };
    let none = Duration::ZERO;
    let mut bench = measured_by_batches(limits, none, none);
    bench.publish_all(&"a".repeat(1_000));
    assert_eq!(batches(&mut bench), [255, 255]);
    bench.ok();
    assert_eq!(batches(&mut bench), [255]);
    // Each microsecond allows one more.
    let mut bench = measured_by_batches(limits, Duration::from_micros(256), none);
    bench.publish_all(&"a".repeat(1_000));
    assert_eq!(batches(&mut bench), [255, 255, 255]);
}

#[test]
fn first_batches_of_a_connection_are_small() {
    let mut bench = Bench::batching();
    bench.publish_all(&"a".repeat(300));
    assert_eq!(batches(&mut bench), [16, 16, 16, 16, 16, 16, 4]);
    bench.lose(0);
    assert_eq!(batches(&mut bench), [16, 16, 16, 16, 16, 16, 4]);
    // A rejection shows nothing about the speed of nsqd.
    bench.ok();
    bench.reject("E_SHINY something new");
    assert_eq!(batches(&mut bench), [64, 36]);
}

#[test]
fn batch_is_as_large_as_nsqd_can_store_in_time() {
    let limits = Limits {
        batch_time: 2 * SECOND,
        ..BATCHING
    };
    for (micros, messages) in [
        (10, 90),
        (20_000, 90),
        (40_000, 50),
        (1_000_000, 2),
        (9_000_000, 1),
    ] {
        let service = Duration::from_micros(micros);
        let mut bench = measured_by_batches(limits, Duration::from_millis(5), service);
        bench.publish_all(&"a".repeat(90));
        assert_eq!(batches(&mut bench)[0], messages, "{micros} µs");
    }
}

#[test]
fn batches_grow_by_what_was_answered() {
    let wide = usage(2_000, 1 << 20);
    let mut bench = Bench::with(Limits {
        pending: wide,
        window: wide,
        ..BATCHING
    });
    bench.publish("a");
    assert_eq!(batches(&mut bench), [1]);
    bench.ok();
    // Each is followed by a single one.
    for largest in [16, 56, 196, 256] {
        bench.publish_all(&"a".repeat(largest + 1));
        for expected in [largest, 1] {
            assert_eq!(batches(&mut bench), [expected]);
            bench.wait(Duration::from_millis(1));
            bench.ok();
        }
    }
    // Small ones make it forgotten.
    for _ in 0..40 {
        bench.publish("a");
        bench.send();
        bench.ok();
    }
    bench.publish_all(&"a".repeat(600));
    assert_eq!(batches(&mut bench)[0], 16);
}

/// Wide limits, and an nsqd that answers batches after this time per publish. It was idle in five
/// bursts.
fn measured_widely(service: Duration) -> Bench {
    let wide = usage(2_000, 1 << 20);
    let limits = Limits {
        pending: wide,
        window: wide,
        ..BATCHING
    };
    measured_by_batches(limits, Duration::ZERO, service)
}

#[test]
fn publishes_of_few_callers_are_divided_among_four() {
    let slow = Duration::from_micros(10);
    for (publishes, expected) in [
        (28, vec![28]),
        (29, vec![8, 8, 8, 5]),
        (64, vec![16; 4]),
        (384, vec![96; 3]),
        (385, vec![256]),
    ] {
        let mut bench = measured_widely(Duration::ZERO);
        bench.publish_all(&"a".repeat(publishes));
        assert_eq!(batches(&mut bench), expected);
        let mut bench = measured_widely(slow);
        bench.publish_all(&"a".repeat(publishes));
        assert_eq!(batches(&mut bench)[0], publishes.min(256));
    }
}

#[test]
fn dividing_leaves_no_small_rest() {
    let mut bench = measured_widely(Duration::ZERO);
    bench.publish_all("aaaaaaaaaabbbbbbbbbbcccccccccc");
    assert_eq!(batches(&mut bench), [10, 10, 10]);
}

#[test]
fn publishes_are_rarely_divided_while_that_gains_nothing() {
    let mut bench = measured_widely(Duration::ZERO);
    bench.publish_all(&"a".repeat(64));
    let mut round = |commands_answered: usize| {
        bench.wait(Duration::from_micros(1));
        let sent = batches(&mut bench);
        bench.oks(commands_answered.min(sent.len()));
        let answered = 64 - bench.queue().unanswered();
        bench.publish_all(&"a".repeat(answered));
        sent[0]
    };
    // All commands are answered before a response is read. Two in 66 rounds are divided.
    let first: Vec<usize> = (0..180).map(|_| round(4)).collect();
    assert_eq!((first[0], first[179]), (16, 64));
    assert!(first.iter().filter(|publishes| **publishes == 16).count() <= 16);
    // Other commands are in flight when a response is read.
    let last: Vec<usize> = (0..200).map(|_| round(1)).collect();
    assert_eq!(last[199], 16);
}

/// A topic with 16 publishes in flight: of 8 commands that are allowed, its next has at least 2.
fn many_in_flight(limits: Limits) -> Bench {
    let mut bench = measured(limits, Duration::ZERO, Duration::ZERO);
    bench.publish_all(&"a".repeat(16));
    assert_eq!(bench.send().len(), 1);
    bench
}

#[test]
fn batch_waits_for_more_when_its_topic_is_in_flight() {
    let mut bench = many_in_flight(BATCHING);
    bench.publish("a");
    bench.sends([]);
    bench.publish("b");
    bench.sends(["PUB b 19"]);
    bench.publish("a");
    bench.sends(["MPUB a 18 20"]);
    bench.publish("a");
    bench.sends([]);
    // With fewer in flight, fewer are enough; those that timed out count until their response.
    bench.wait(30 * SECOND);
    bench.publish("a");
    bench.sends([]);
    bench.ok();
    bench.sends(["PUB a 22"]);
}

#[test]
fn publish_that_is_not_batched_does_not_wait_for_more() {
    let mut bench = many_in_flight(Limits {
        window: usage(100, 1 << 20),
        ..BATCHING
    });
    bench.defer("a", 5);
    bench.sends(["DPUB a 5 18"]);
    bench.multi_publish("a", 1);
    bench.sends(["MPUB a 19 19"]);
    bench.publish_sized("a", (64 << 10) + 1);
    bench.sends(["PUB a 20"]);
    bench.publish_sized("a", 64 << 10);
    bench.sends([]);
}

/// Hands over 40,000 publishes one by one, of which every other one is cancelled or all are
/// awaited. Returns the time of the fastest of a few rounds.
fn time_to_hand_over(is_cancelled: bool) -> Duration {
    let hand_over = || {
        let mut bench = Bench::with(Limits {
            pending: usage(40_000, 1 << 20),
            window: usage(40_000, 1 << 20),
            ..WIDE
        });
        for id in 1..=40_000 {
            bench.publish("a");
            if is_cancelled && id % 2 == 0 {
                bench.cancel(id);
            }
        }
        let Bench {
            queue, out, now, ..
        } = &mut bench;
        let queue = queue.as_mut().unwrap();
        let start = Instant::now();
        while queue.next_command(b"", out, *now) {}
        start.elapsed()
    };
    (0..3).map(|_| hand_over()).min().unwrap_or_default()
}

#[test]
fn cancelled_publishes_do_not_slow_down_the_hand_over() {
    let (without, with) = (time_to_hand_over(false), time_to_hand_over(true));
    assert!(with < 10 * without, "{without:?}, {with:?}");
}

#[test]
fn publishes_discarded_between_others_leave_no_trace() {
    let mut bench = Bench::new();
    bench.publish_all("aaaaaa");
    for id in [2, 5] {
        bench.cancel(id);
    }
    bench.sends(["PUB a 1", "PUB a 3", "PUB a 4", "PUB a 6"]);
    bench.answers_each([2, 5], "Closed NotWritten");
    assert_eq!(bench.held(), (4, 4));
    bench.publish("a");
    bench.oks(1);
    bench.answers(["1 Ok"]);
    // Those in flight are sent again in order, and nothing is answered twice.
    bench.lose(0);
    bench.sends(["PUB a 3", "PUB a 4", "PUB a 6", "PUB a 7"]);
    bench.wait(30 * SECOND);
    bench.answers_each([3, 4, 6, 7], "Timeout MaybeWritten");
    bench.oks(4);
    assert_eq!(bench.held(), (0, 0));
}
