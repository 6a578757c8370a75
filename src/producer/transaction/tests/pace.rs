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

#[test]
fn the_longer_the_way_to_nsqd_the_more_commands_are_in_flight() {
    for (micros, commands) in [(0, 4), (49, 4), (50, 5), (99, 5), (1_000, 24)] {
        let mut bench = Bench::folding();
        bench.queue().begin(Duration::from_micros(micros));
        assert_eq!(handed_over_at_once(&mut bench, 50), commands, "{micros} us");
    }
}

#[test]
fn one_is_answered_and_one_follows() {
    let mut bench = Bench::folding();
    assert_eq!(handed_over_at_once(&mut bench, 6), 4);
    bench.ok();
    assert_eq!(bench.hand_over(), ["PUB topic4 5"]);
    assert!(bench.hand_over().is_empty());
    bench.ok();
    bench.ok();
    assert_eq!(bench.hand_over(), ["PUB topic5 6"]);
}

#[test]
fn the_shortest_way_from_hand_over_to_ok_is_the_one_that_counts_on_each_connection() {
    let mut bench = Bench::folding();
    bench.queue().begin(Duration::from_micros(1_000));
    assert_eq!(handed_over_at_once(&mut bench, 30), 24);
    bench.wait(Duration::from_micros(500));
    bench.ok();
    // 14 may be in flight now, and 23 are.
    assert!(bench.hand_over().is_empty());
    for _ in 0..10 {
        bench.ok();
    }
    assert_eq!(bench.hand_over().len(), 1);
    // A long one changes nothing.
    bench.wait(SECOND);
    for _ in 0..14 {
        bench.ok();
    }
    assert_eq!(handed_over_at_once(&mut bench, 50), 14);
    // The next connection has its own.
    bench.lose(0);
    bench.queue().begin(Duration::from_micros(100));
    assert_eq!(bench.hand_over().len(), 6);
}

#[test]
fn pings_are_not_held_up_and_hold_up_nobody() {
    let mut bench = Bench::folding();
    for _ in 0..10 {
        bench.ping();
    }
    assert_eq!(bench.hand_over().len(), 10);
    assert_eq!(handed_over_at_once(&mut bench, 10), 4);
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

#[test]
fn a_command_is_formed_while_fewer_than_256_publishes_are_in_flight() {
    let many = Load {
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
    bench.queue().begin(Duration::from_micros(256));
    let carried = bench.hand_over().iter().map(members).collect::<Vec<_>>();
    assert_eq!(carried, [255, 255, 235]);
}

#[test]
fn with_much_of_a_topic_in_flight_its_next_batch_grows_first() {
    let mut bench = twelve_in_flight();
    bench.publish_all("aa");
    assert!(bench.hand_over().is_empty());
    // Another topic does not wait for that.
    bench.publish("b");
    assert_eq!(bench.hand_over(), ["PUB b 15"]);
    bench.publish("a");
    assert_eq!(bench.hand_over(), ["MPUB a 13 14 16"]);
    // And nobody waits for ever: when nsqd has answered, fewer are enough.
    bench.publish("a");
    assert!(bench.hand_over().is_empty());
    bench.ok();
    assert_eq!(bench.hand_over(), ["PUB a 17"]);
}

#[test]
fn no_more_is_waited_for_than_a_batch_holds() {
    let mut bench = Bench::folding_within(2, 900_000);
    bench.queue().begin(Duration::ZERO);
    for _ in 0..8 {
        bench.publish("a");
    }
    assert_eq!(bench.hand_over().len(), 4);
    bench.ok();
    bench.publish("a");
    assert_eq!(bench.hand_over(), ["PUB a 9"]);

    let mut bench = Bench::folding_within(20, 900_000);
    for _ in 0..90 {
        bench.publish("a");
    }
    // 60 are in flight, and their fourth part would be 15.
    assert_eq!(bench.hand_over().len(), 4);
    bench.ok();
    bench.ok();
    bench.publish_all("aa");
    assert_eq!(bench.hand_over(), [format!("MPUB a {}", numbers(81..=92))]);
}

fn numbers(numbers: impl Iterator<Item = usize>) -> String {
    let numbers: Vec<_> = numbers.map(|number| number.to_string()).collect();
    numbers.join(" ")
}

/// Twelve of a topic are in flight as one: of what is folded, three are to leave together.
fn twelve_in_flight() -> Bench {
    let mut bench = Bench::folding();
    bench.publish_all("aaaaaaaaaaaa");
    assert_eq!(bench.hand_over().len(), 1);
    bench
}

#[test]
fn what_is_not_folded_does_not_wait_for_company() {
    let mut bench = twelve_in_flight();
    bench.defer("a", 5);
    assert_eq!(bench.hand_over(), ["DPUB a 5 13"]);
    bench.batch("a", 1);
    assert_eq!(bench.hand_over(), ["MPUB a 14 14"]);
    // What is folded does.
    bench.publish("a");
    assert!(bench.hand_over().is_empty());
    bench.publish_sized("a", 60_000);
    bench.publish("a");
    assert_eq!(bench.hand_over(), ["MPUB a 15 16 17"]);

    let mut bench = twelve_in_flight();
    let window = Load {
        publishes: 100,
        bytes: 1 << 20,
    };
    bench.queue().window = window;
    bench.publish_sized("a", (64 << 10) + 1);
    assert_eq!(bench.hand_over(), ["PUB a 13"]);
}

#[test]
fn an_answer_to_those_out_of_time_makes_room_like_any_other() {
    let mut bench = Bench::folding();
    for _ in 0..8 {
        bench.publish_within("a", SECOND);
    }
    bench.hand_over();
    bench.wait(SECOND);
    bench.publish("a");
    // They are in flight still.
    assert!(bench.hand_over().is_empty());
    bench.ok();
    assert_eq!(bench.hand_over(), ["PUB a 9"]);
}

#[test]
fn without_batching_only_the_window_counts() {
    let mut bench = Bench::new();
    bench.queue().begin(Duration::ZERO);
    assert_eq!(handed_over_at_once(&mut bench, 90), 90);
}
