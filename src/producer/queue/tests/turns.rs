//! With automatic batching topics take turns: none starves another, and what was refused stands last.

use super::*;

/// contract: 2, 3, 4, 7, 9
#[test]
fn topics_take_turns_in_the_order_in_which_they_came() {
    let mut bench = Bench::folding_within(2, 900_000);
    bench.queue().on_connected(SECOND);
    bench.publish_all("aaaaabbbc");
    let commands = [
        "MPUB a 1 2",
        "MPUB b 6 7",
        "PUB c 9",
        "MPUB a 3 4",
        "PUB b 8",
        "PUB a 5",
    ];
    assert_eq!(bench.hand_over(), commands);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn a_flood_of_one_topic_has_a_lone_publish_of_another_wait_for_one_command() {
    let mut bench = Bench::folding_within(2, 900_000);
    bench.publish_all(&"a".repeat(28));
    assert_eq!(bench.hand_over().len(), 8);
    bench.publish("b");
    bench.ok();
    assert_eq!(bench.hand_over(), ["MPUB a 17 18"]);
    bench.ok();
    assert_eq!(bench.hand_over(), ["PUB b 29"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn the_topic_that_was_refused_stands_last_on_the_next_connection() {
    for text in [
        "E_BAD_MESSAGE PUB invalid message",
        "E_PUB_FAILED PUB failed",
        "E_SHINY something new",
        "E_BAD_MESSAGE PUB failed to read message body",
    ] {
        let mut bench = Bench::folding();
        bench.publish("a");
        bench.hand_over();
        bench.publish_all("acb");
        bench.refuse(text);
        let next = bench.hand_over();
        let topics: Vec<_> = next
            .iter()
            .map(|command| command.split(' ').nth(1))
            .collect();
        assert_eq!(topics, [Some("c"), Some("b"), Some("a")], "{text}");
    }
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn it_stands_last_once_and_takes_turns_again() {
    let mut bench = Bench::folding_within(2, 900_000);
    bench.publish_all("aaab");
    bench.hand_over();
    bench.refuse("E_SHINY something new");
    bench.lose(0);
    bench.publish_all("bba");
    assert_eq!(bench.hand_over(), ["MPUB b 4 5", "MPUB a 3 7", "PUB b 6"]);
    bench.lose(0);
    assert_eq!(bench.hand_over(), ["MPUB b 4 5", "MPUB a 3 7", "PUB b 6"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn what_was_in_flight_goes_before_what_waited_by_its_oldest_command() {
    let mut bench = Bench::folding_within(2, 900_000);
    // As many commands as may be are in flight, and one of b waits.
    bench.publish_all("cbbbadwxyz");
    assert_eq!(bench.hand_over().len(), 8);
    bench.publish_all("eac");
    bench.lose(0);
    let again = [
        "MPUB c 1 13",
        "MPUB b 2 3",
        "MPUB a 5 12",
        "PUB d 6",
        "PUB w 7",
        "PUB x 8",
        "PUB y 9",
        "PUB z 10",
    ];
    assert_eq!(bench.hand_over(), again);
    bench.ok();
    // It waited longer than the rest of b.
    assert_eq!(bench.hand_over(), ["PUB e 11"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn a_ping_in_flight_gives_no_topic_a_place_before_the_others() {
    let mut bench = Bench::folding();
    bench.publish("a");
    bench.hand_over();
    bench.ok();
    bench.ping();
    bench.publish("b");
    assert_eq!(bench.hand_over(), ["IDENTIFY {}", "PUB b 3"]);
    bench.publish("a");
    bench.lose(0);
    assert_eq!(bench.hand_over(), ["IDENTIFY {}", "PUB b 3", "PUB a 4"]);
}

/// Ten bytes may be in flight, and ten are.
fn no_more_room() -> Bench {
    let mut bench = Bench::with(Limits {
        pending: Usage {
            publishes: 5,
            bytes: 1000,
        },
        window: Usage {
            publishes: 100,
            bytes: 10,
        },
        ..FOLDING
    });
    bench.publish_sized("x", 5);
    bench.publish_sized("y", 5);
    assert_eq!(bench.hand_over().len(), 2);
    bench
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn a_topic_whose_next_has_no_room_in_the_window_is_not_overtaken_by_smaller_ones() {
    let mut bench = no_more_room();
    bench.publish_sized("a", 8);
    bench.publish_sized("b", 1);
    assert!(bench.hand_over().is_empty());
    bench.ok();
    assert!(bench.hand_over().is_empty());
    bench.ok();
    assert_eq!(bench.hand_over(), ["PUB a 3", "PUB b 4"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn nor_does_it_lose_its_turn_to_one_that_is_accepted_when_another_of_its_own_leaves() {
    let mut bench = no_more_room();
    bench.publish_sized("a", 8);
    bench.publish_sized("a", 8);
    bench.publish_sized("b", 1);
    let transaction = Transaction {
        topic: Topic::new("a").unwrap(),
        payload: Payload::Publish(bench.body(1)),
        timeout: SECOND,
    };
    let (now, caller) = (bench.now, bench.caller());
    bench.queue().push(transaction, WhenFull::Wait, now, caller);
    bench.cancel(3);
    assert!(bench.hand_over().is_empty());
    bench.ok();
    assert!(bench.hand_over().is_empty());
    bench.ok();
    assert_eq!(bench.hand_over(), ["MPUB a 4 6", "PUB b 5"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn topics_that_come_and_go_are_not_remembered_for_ever() {
    let mut bench = Bench::folding();
    for round in 0..1000 {
        let topic = format!("topic{round}");
        bench.publish(&topic);
        bench.publish(&topic);
        assert_eq!(bench.hand_over().len(), 1);
        bench.ok();
    }
    assert_eq!(bench.told().len(), 2000);
    // 64 keep their lane when nothing stands in it.
    assert!(bench.queue().topics.len() <= 64 + 1);
    // Nor those that were never sent.
    for round in 0..10 {
        for topic in 0..100 {
            bench.publish(&format!("other{round}_{topic}"));
        }
        bench.wait(30 * SECOND);
        assert_eq!(bench.told().len(), 100);
    }
    assert!(bench.queue().topics.len() <= 64 + 100);
    bench.publish_all("ab");
    assert_eq!(bench.hand_over().len(), 2);
}
