//! Automatic batching: which publishes form one command.

use super::*;

/// contract: 2
#[test]
fn single_publish_is_sent_at_once_as_pub() {
    let mut bench = Bench::batching();
    bench.publish("a");
    bench.sends(["PUB a 1"]);
    bench.publish("a");
    bench.sends(["PUB a 2"]);
    bench.oks(2);
    bench.answers(["1 Ok", "2 Ok"]);
}

/// contract: 2, 9
#[test]
fn queued_publishes_of_a_topic_form_one_command() {
    let mut bench = Bench::batching();
    bench.publish_all("abacba");
    bench.sends(["MPUB a 1 3 6", "MPUB b 2 5", "PUB c 4"]);
    assert_eq!(bench.queue().in_flight().publishes, 6);
    bench.ok();
    bench.answers(["1 Ok", "3 Ok", "6 Ok"]);
    bench.oks(2);
    bench.answers(["2 Ok", "5 Ok", "4 Ok"]);
    assert!(bench.queue().is_empty());
    assert_eq!(bench.held(), (0, 0));
}

/// contract: 9
#[test]
fn other_commands_and_large_bodies_are_never_batched() {
    let mut bench = Bench::with(Limits {
        window: usage(100, 1 << 20),
        ..BATCHING
    });
    bench.queue().on_connected(SECOND);
    bench.publish_all("aa");
    bench.multi_publish("a", 1);
    bench.publish("a");
    bench.defer("a", 250);
    bench.defer("a", 250);
    bench.publish("a");
    bench.publish_sized("a", 64 << 10);
    bench.publish_sized("a", (64 << 10) + 1);
    bench.publish_all("aa");
    let commands = [
        "MPUB a 1 2",
        "MPUB a 3 3",
        "PUB a 4",
        "DPUB a 250 5",
        "DPUB a 250 6",
        "MPUB a 7 8",
        "PUB a 9",
        "MPUB a 10 11",
    ];
    bench.sends(commands);
    bench.oks(commands.len());
    bench.answers_each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], "Ok");
}

#[test]
fn batch_is_limited_in_messages_and_bytes() {
    let mut bench = Bench::batching_within(3, 900_000);
    bench.publish_all("aaaaaaa");
    bench.sends(["MPUB a 1 2 3", "MPUB a 4 5 6", "PUB a 7"]);

    // 4 bytes for the number of messages and 4 before each: 32 for two of 10 bytes.
    for (bytes, commands) in [
        (31, &["PUB a 1", "PUB a 2", "PUB a 3", "PUB a 4"][..]),
        (32, &["MPUB a 1 2", "MPUB a 3 4"]),
        (45, &["MPUB a 1 2", "MPUB a 3 4"]),
        (46, &["MPUB a 1 2 3", "PUB a 4"]),
    ] {
        let mut bench = Bench::batching_within(256, bytes);
        for _ in 0..4 {
            bench.publish_sized("a", 10);
        }
        assert_eq!(bench.send(), commands, "{bytes}");
    }

    let mut bench = Bench::batching_within(256, 50);
    bench.publish_all("aa");
    bench.publish_sized("a", 100);
    bench.publish_all("aa");
    bench.sends(["MPUB a 1 2", "PUB a 3", "MPUB a 4 5"]);
}

/// contract: 6
#[test]
fn batch_stays_within_the_window() {
    for (window, command) in [
        (usage(3, 100), "MPUB a 1 2 3"),
        (usage(100, 20), "MPUB a 1 2"),
        (usage(100, 39), "MPUB a 1 2 3"),
        (usage(1, 1), "PUB a 1"),
    ] {
        let mut bench = Bench::with(Limits { window, ..BATCHING });
        for _ in 0..4 {
            bench.publish_sized("a", 10);
        }
        bench.sends([command]);
        bench.ok();
        assert_eq!(bench.send().len(), 1);
    }
}

/// contract: 7
#[test]
fn cancelled_publishes_do_not_split_a_batch() {
    let mut bench = Bench::batching_within(3, 900_000);
    bench.publish("a");
    bench.defer("a", 250);
    bench.publish_sized("a", 100_000);
    bench.publish_all("aaa");
    bench.cancel(2);
    bench.cancel(3);
    bench.sends(["MPUB a 1 4 5", "PUB a 6"]);

    // A single one that is left is sent as PUB.
    let mut bench = Bench::batching();
    bench.publish_all("aaa");
    bench.cancel(1);
    bench.cancel(3);
    bench.sends(["PUB a 2"]);
    assert_eq!(bench.queue().counters().batches, 0);
}
