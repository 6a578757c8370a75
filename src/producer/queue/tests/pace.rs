//! How much is in flight with automatic batching: enough for nsqd never to wait, and no more, so that batches are large and a
//! lone publish has little before it.

use super::*;

/// One publish for each of so many topics, and how many commands that makes.
fn handed_over_at_once(bench: &mut Bench, topics: usize) -> usize {
    for topic in 0..topics {
        bench.publish(&format!("topic{topic}"));
    }
    bench.hand_over().len()
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn the_longer_the_way_to_nsqd_the_more_commands_are_in_flight() {
    for (micros, commands) in [(0, 8), (49, 8), (50, 9), (99, 9), (1_000, 28)] {
        let mut bench = Bench::folding();
        bench.queue().on_connected(Duration::from_micros(micros));
        assert_eq!(handed_over_at_once(&mut bench, 50), commands, "{micros} us");
    }
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn one_is_answered_and_one_follows() {
    let mut bench = Bench::folding();
    assert_eq!(handed_over_at_once(&mut bench, 10), 8);
    bench.ok();
    assert_eq!(bench.hand_over(), ["PUB topic8 9"]);
    assert!(bench.hand_over().is_empty());
    bench.ok();
    bench.ok();
    assert_eq!(bench.hand_over(), ["PUB topic9 10"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn the_shortest_way_from_hand_over_to_ok_is_the_one_that_counts_on_each_connection() {
    let mut bench = Bench::folding();
    bench.queue().on_connected(Duration::from_micros(1_000));
    assert_eq!(handed_over_at_once(&mut bench, 40), 28);
    bench.wait(Duration::from_micros(500));
    bench.ok();
    // 18 may be in flight now, and 27 are.
    assert!(bench.hand_over().is_empty());
    for _ in 0..10 {
        bench.ok();
    }
    assert_eq!(bench.hand_over().len(), 1);
    // A long one changes nothing.
    bench.wait(SECOND);
    for _ in 0..18 {
        bench.ok();
    }
    assert_eq!(handed_over_at_once(&mut bench, 50), 18);
    // The next connection has its own.
    bench.lose(0);
    bench.queue().on_connected(Duration::from_micros(100));
    assert_eq!(bench.hand_over().len(), 10);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn pings_are_not_held_up_and_hold_up_nobody() {
    let mut bench = Bench::folding();
    for _ in 0..10 {
        bench.ping();
    }
    assert_eq!(bench.hand_over().len(), 10);
    assert_eq!(handed_over_at_once(&mut bench, 10), 8);
    bench.ping();
    assert_eq!(bench.hand_over(), ["IDENTIFY {}"]);
    // Their answers make no room for publishes.
    for _ in 0..10 {
        bench.ok();
    }
    assert!(bench.hand_over().is_empty());
    bench.ok();
    assert_eq!(bench.hand_over().len(), 1);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn a_command_is_formed_while_fewer_than_256_publishes_are_in_flight() {
    let many = Usage {
        publishes: 2_000,
        bytes: 1 << 20,
    };
    let mut bench = Bench::with(Limits {
        pending: many,
        window: many,
        batch: Some(Batch {
            messages: 255,
            bytes: 900_000,
        }),
        ..WIDE
    });
    for _ in 0..1_000 {
        bench.publish("a");
    }
    let members = |command: &String| command.split(' ').count() - 2;
    let carried = bench.hand_over().iter().map(members).collect::<Vec<_>>();
    assert_eq!(carried, [255, 255]);
    bench.ok();
    let carried = bench.hand_over().iter().map(members).collect::<Vec<_>>();
    assert_eq!(carried, [255]);
    // It is one more for each microsecond to nsqd.
    bench.lose(0);
    bench.told();
    bench.queue().on_connected(Duration::from_micros(256));
    let carried = bench.hand_over().iter().map(members).collect::<Vec<_>>();
    assert_eq!(carried, [255, 255, 235]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn with_much_of_a_topic_in_flight_its_next_batch_grows_first() {
    let mut bench = twenty_four_in_flight();
    bench.publish_all("aa");
    assert!(bench.hand_over().is_empty());
    // Another topic does not wait for that.
    bench.publish("b");
    assert_eq!(bench.hand_over(), ["PUB b 27"]);
    bench.publish("a");
    assert_eq!(bench.hand_over(), ["MPUB a 25 26 28"]);
    // And nobody waits for ever: when nsqd has answered, fewer are enough.
    bench.publish("a");
    assert!(bench.hand_over().is_empty());
    bench.ok();
    assert_eq!(bench.hand_over(), ["PUB a 29"]);
}

/// So many of a topic are in flight as one command, of the eight that may be: of what is folded, three are to leave together.
fn twenty_four_in_flight() -> Bench {
    let mut bench = Bench::folding();
    bench.publish_all(&"a".repeat(24));
    assert_eq!(bench.hand_over().len(), 1);
    bench
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn what_is_not_folded_does_not_wait_for_company() {
    let mut bench = twenty_four_in_flight();
    bench.defer("a", 5);
    assert_eq!(bench.hand_over(), ["DPUB a 5 25"]);
    bench.batch("a", 1);
    assert_eq!(bench.hand_over(), ["MPUB a 26 26"]);
    // What is folded does.
    bench.publish("a");
    assert!(bench.hand_over().is_empty());
    bench.publish_sized("a", 60_000);
    bench.publish("a");
    assert_eq!(bench.hand_over(), ["MPUB a 27 28 29"]);

    let mut bench = twenty_four_in_flight();
    let window = Usage {
        publishes: 100,
        bytes: 1 << 20,
    };
    bench.queue().in_flight.set_window(window);
    bench.publish_sized("a", (64 << 10) + 1);
    assert_eq!(bench.hand_over(), ["PUB a 25"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn an_answer_to_those_out_of_time_makes_room_like_any_other() {
    let mut bench = Bench::folding();
    for _ in 0..16 {
        bench.publish_within("a", SECOND);
    }
    bench.hand_over();
    bench.wait(SECOND);
    bench.publish("a");
    // They are in flight still.
    assert!(bench.hand_over().is_empty());
    bench.ok();
    assert_eq!(bench.hand_over(), ["PUB a 17"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn without_batching_only_the_window_counts() {
    let mut bench = Bench::new();
    bench.queue().on_connected(Duration::ZERO);
    assert_eq!(handed_over_at_once(&mut bench, 90), 90);
}
