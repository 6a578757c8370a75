//! Topics take turns when publishes are batched.

use super::*;

#[test]
fn topics_take_turns_in_order_of_arrival() {
    let mut bench = Bench::batching_within(2, 900_000);
    bench.queue().on_connected(SECOND);
    bench.publish_all("aaaaabbbc");
    bench.sends([
        "MPUB a 1 2",
        "MPUB b 6 7",
        "PUB c 9",
        "MPUB a 3 4",
        "PUB b 8",
        "PUB a 5",
    ]);
}

#[test]
fn single_publish_does_not_wait_for_a_flood() {
    let mut bench = Bench::batching_within(2, 900_000);
    bench.publish_all(&"a".repeat(28));
    assert_eq!(bench.send().len(), 8);
    bench.publish("b");
    bench.sends(["PUB b 29"]);
}

#[test]
fn topics_held_back_take_turns() {
    let mut bench = Bench::batching_within(2, 900_000);
    bench.publish_all(&"a".repeat(28));
    bench.publish_all(&"b".repeat(28));
    assert_eq!(bench.send().len(), 8);
    bench.ok();
    bench.sends(["MPUB a 9 10"]);
    bench.ok();
    bench.sends(["MPUB b 37 38"]);
    bench.ok();
    bench.sends(["MPUB a 11 12"]);
}

/// contract: 4
#[test]
fn rejected_topic_is_last_on_the_next_connection() {
    for text in [
        "E_BAD_MESSAGE PUB invalid message",
        "E_PUB_FAILED PUB failed",
        "E_SHINY something new",
        "E_BAD_MESSAGE PUB failed to read message body",
    ] {
        let mut bench = Bench::batching();
        bench.publish("a");
        bench.send();
        bench.publish_all("acb");
        bench.reject(text);
        let commands = bench.send();
        let topics = commands.iter().map(|command| command.split(' ').nth(1));
        assert!(topics.eq(["c", "b", "a"].map(Some)), "{text}");
    }
    // Only on the next one.
    let mut bench = Bench::batching_within(2, 900_000);
    bench.publish_all("aaab");
    bench.send();
    bench.reject("E_SHINY something new");
    bench.lose(0);
    bench.publish_all("bba");
    for _ in 0..2 {
        bench.sends(["MPUB b 4 5", "MPUB a 3 7", "PUB b 6"]);
        bench.lose(0);
    }
}

/// contract: 9
#[test]
fn topics_in_flight_keep_their_order_after_a_loss() {
    let mut bench = Bench::batching_within(2, 900_000);
    // The maximum of commands is in flight, and one publish of topic b is queued.
    bench.publish_all("cbbbadwxyz");
    assert_eq!(bench.send().len(), 8);
    bench.publish_all("eac");
    bench.lose(0);
    bench.sends([
        "MPUB c 1 13",
        "MPUB b 2 3",
        "MPUB a 5 12",
        "PUB d 6",
        "PUB w 7",
        "PUB x 8",
        "PUB y 9",
        "PUB z 10",
        "PUB e 11",
    ]);
    // The rest of topic b is held back until less is in flight, or nothing of it.
    bench.ok();
    bench.sends([]);
    bench.ok();
    bench.sends(["PUB b 4"]);
}

#[test]
fn ping_in_flight_does_not_change_the_order_of_topics() {
    let mut bench = Bench::batching();
    bench.publish("a");
    bench.send();
    bench.ok();
    bench.ping();
    bench.publish("b");
    bench.sends(["IDENTIFY {}", "PUB b 3"]);
    bench.publish("a");
    bench.lose(0);
    bench.sends(["IDENTIFY {}", "PUB b 3", "PUB a 4"]);
}

/// A window of 10 bytes that is full.
fn full_window() -> Bench {
    let mut bench = Bench::with(Limits {
        pending: usage(5, 1000),
        window: usage(100, 10),
        ..BATCHING
    });
    bench.publish_sized("x", 5);
    bench.publish_sized("y", 5);
    assert_eq!(bench.send().len(), 2);
    bench
}

#[test]
fn topic_blocked_by_the_window_is_not_overtaken() {
    let mut bench = full_window();
    bench.publish_sized("a", 8);
    bench.publish_sized("b", 1);
    bench.sends([]);
    bench.ok();
    bench.sends([]);
    bench.ok();
    bench.sends(["PUB a 3", "PUB b 4"]);
}

#[test]
fn blocked_topic_keeps_its_turn_when_a_waiter_is_accepted() {
    let mut bench = full_window();
    bench.publish_sized("a", 8);
    bench.publish_sized("a", 8);
    bench.publish_sized("b", 1);
    bench.publish_waiting(1, SECOND);
    bench.cancel(3);
    bench.sends([]);
    bench.ok();
    bench.sends([]);
    bench.ok();
    bench.sends(["MPUB a 4 6", "PUB b 5"]);
}

#[test]
fn topics_that_come_and_go_do_not_accumulate() {
    let mut bench = Bench::batching();
    for topic in 0..1000 {
        bench.publish(&format!("topic{topic}"));
        assert_eq!(bench.send().len(), 1);
        bench.ok();
    }
    assert!(bench.queue().topics.len() <= 64 + 1);
    for round in 0..10 {
        for topic in 0..100 {
            bench.publish(&format!("topic{round}_{topic}"));
        }
        bench.wait(30 * SECOND);
    }
    assert_eq!(bench.take_answers().len(), 2000);
    assert!(bench.queue().topics.len() <= 64 + 100);
    bench.publish_all("ab");
    assert_eq!(bench.send().len(), 2);
}
