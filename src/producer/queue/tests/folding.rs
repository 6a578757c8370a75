//! Automatic batching: what leaves as one command, and that each of those in it has its own answer.

use super::*;

/// So many bytes an MPUB takes, with a topic of one letter.
fn mpub_size(bodies: &[u64]) -> u64 {
    let bodies: u64 = bodies.iter().map(|body| 4 + body).sum();
    "MPUB a\n".len() as u64 + 4 + 4 + bodies
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn a_lone_publish_leaves_at_once_and_as_it_is() {
    let mut bench = Bench::folding();
    bench.publish("a");
    assert_eq!(bench.hand_over(), ["PUB a 1"]);
    // Nor does the next one wait for company.
    bench.publish("a");
    assert_eq!(bench.hand_over(), ["PUB a 2"]);
    bench.ok();
    bench.ok();
    assert_eq!(bench.told(), ["1 Ok", "2 Ok"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn publishes_of_one_topic_that_wait_together_leave_as_one_and_one_ok_answers_all() {
    let mut bench = Bench::folding();
    bench.publish_all("aaa");
    assert_eq!(bench.hand_over(), ["MPUB a 1 2 3"]);
    assert_eq!(bench.queue().in_flight().publishes, 3);
    bench.ok();
    assert_eq!(bench.told(), ["1 Ok", "2 Ok", "3 Ok"]);
    assert!(bench.queue().is_empty());
    assert_eq!(bench.held(), (0, 0));
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn each_topic_is_folded_by_itself_and_keeps_its_order() {
    let mut bench = Bench::folding();
    bench.publish_all("abacba");
    assert_eq!(bench.hand_over(), ["MPUB a 1 3 6", "MPUB b 2 5", "PUB c 4"]);
    for _ in 0..3 {
        bench.ok();
    }
    let told = ["1 Ok", "3 Ok", "6 Ok", "2 Ok", "5 Ok", "4 Ok"];
    assert_eq!(bench.told(), told);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn batches_of_the_caller_and_deferred_ones_are_neither_folded_nor_overtaken() {
    let mut bench = Bench::folding();
    bench.publish_all("aa");
    bench.batch("a", 1);
    bench.publish("a");
    bench.defer("a", 250);
    bench.defer("a", 250);
    bench.publish_all("aa");
    bench.queue().on_connected(SECOND);
    let commands = [
        "MPUB a 1 2",
        "MPUB a 3 3",
        "PUB a 4",
        "DPUB a 250 5",
        "DPUB a 250 6",
        "MPUB a 7 8",
    ];
    assert_eq!(bench.hand_over(), commands);
    commands.iter().for_each(|_| bench.ok());
    let told: Vec<_> = (1..=8).map(|id| format!("{id} Ok")).collect();
    assert_eq!(bench.told(), told);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn a_batch_has_at_most_so_many_messages() {
    let mut bench = Bench::folding_within(3, 900_000);
    bench.publish_all("aaaaaaa");
    let commands = ["MPUB a 1 2 3", "MPUB a 4 5 6", "PUB a 7"];
    assert_eq!(bench.hand_over(), commands);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn a_batch_has_at_most_so_many_bytes_as_they_count_on_the_wire() {
    // 4 for the count, and 4 beside each body of 10: 32 for two.
    for (bytes, commands) in [
        (32, ["MPUB a 1 2", "MPUB a 3 4"].as_slice()),
        (31, &["PUB a 1", "PUB a 2", "PUB a 3", "PUB a 4"]),
        (45, &["MPUB a 1 2", "MPUB a 3 4"]),
        (46, &["MPUB a 1 2 3", "PUB a 4"]),
    ] {
        let mut bench = Bench::folding_within(256, bytes);
        for _ in 0..4 {
            bench.publish_sized("a", 10);
        }
        assert_eq!(bench.hand_over(), commands, "{bytes}");
    }
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn what_exceeds_the_bytes_of_a_batch_goes_by_itself() {
    let mut bench = Bench::folding_within(256, 50);
    bench.publish_all("aa");
    bench.publish_sized("a", 100);
    bench.publish_all("aa");
    assert_eq!(bench.hand_over(), ["MPUB a 1 2", "PUB a 3", "MPUB a 4 5"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn a_batch_stays_within_the_window() {
    for (window, commands) in [
        (
            Usage {
                publishes: 3,
                bytes: 100,
            },
            ["MPUB a 1 2 3"].as_slice(),
        ),
        (
            Usage {
                publishes: 100,
                bytes: 20,
            },
            &["MPUB a 1 2"],
        ),
        (
            Usage {
                publishes: 100,
                bytes: 39,
            },
            &["MPUB a 1 2 3"],
        ),
        (
            Usage {
                publishes: 1,
                bytes: 1,
            },
            &["PUB a 1"],
        ),
    ] {
        let mut bench = Bench::with(Limits { window, ..FOLDING });
        for _ in 0..4 {
            bench.publish_sized("a", 10);
        }
        assert_eq!(bench.hand_over(), commands);
        bench.ok();
        assert_eq!(bench.told().len(), commands[0].split(' ').count() - 2);
        assert_eq!(bench.hand_over().len(), 1);
    }
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn a_large_body_goes_by_itself_and_nothing_passes_it() {
    let window = Usage {
        publishes: 100,
        bytes: 1 << 20,
    };
    let mut bench = Bench::with(Limits { window, ..FOLDING });
    bench.publish("a");
    bench.publish_sized("a", 64 << 10);
    bench.publish_sized("a", (64 << 10) + 1);
    bench.publish_all("aa");
    let commands = ["MPUB a 1 2", "PUB a 3", "MPUB a 4 5"];
    assert_eq!(bench.hand_over(), commands);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn cancelled_before_its_batch_is_written_it_is_not_in_it() {
    let mut bench = Bench::folding();
    bench.publish_all("aaaaa");
    for id in [1, 3, 5] {
        bench.cancel(id);
    }
    bench.publish("a");
    assert_eq!(bench.hand_over(), ["MPUB a 2 4 6"]);
    assert_eq!(bench.queue().counters().not_written, 3);
    assert_eq!(bench.held(), (3, 3));
    bench.ok();
    let told = bench.told();
    assert_eq!(told[told.len() - 3..], ["2 Ok", "4 Ok", "6 Ok"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn out_of_time_before_its_batch_is_written_it_is_not_in_it() {
    let mut bench = Bench::folding();
    bench.publish_within("a", SECOND);
    bench.publish("a");
    bench.publish_within("a", SECOND);
    bench.publish("a");
    // Nobody has looked at dead-lines since.
    bench.now += SECOND;
    assert_eq!(bench.hand_over(), ["MPUB a 2 4"]);
    let mut told = bench.told();
    told.sort();
    assert_eq!(told, ["1 Timeout NotWritten", "3 Timeout NotWritten"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn whose_company_is_gone_leaves_as_it_is() {
    let mut bench = Bench::folding();
    bench.publish_all("aaa");
    bench.cancel(1);
    bench.cancel(3);
    assert_eq!(bench.hand_over(), ["PUB a 2"]);
    let counters = bench.queue().counters();
    assert_eq!(
        (counters.commands, counters.batches, counters.batched),
        (1, 0, 0)
    );
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn those_gone_are_no_gap_between_those_that_fit_together() {
    let mut bench = Bench::folding_within(3, 900_000);
    bench.publish("a");
    bench.defer("a", 250);
    bench.publish_sized("a", 100_000);
    bench.publish_all("aaa");
    for id in [2, 3] {
        bench.cancel(id);
    }
    assert_eq!(bench.hand_over(), ["MPUB a 1 4 5", "PUB a 6"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn out_of_time_in_flight_it_is_answered_and_keeps_its_place_in_the_batch() {
    let mut bench = Bench::folding();
    bench.publish("a");
    bench.publish_within("a", SECOND);
    bench.publish_all("ab");
    assert_eq!(bench.hand_over(), ["MPUB a 1 2 3", "PUB b 4"]);
    bench.wait(SECOND);
    assert_eq!(bench.told(), ["2 Timeout MaybeWritten"]);
    assert_eq!(bench.held(), (4, 4));
    bench.ok();
    assert_eq!(bench.told(), ["1 Ok", "3 Ok"]);
    assert_eq!(bench.held(), (1, 1));
    bench.ok();
    assert_eq!(bench.told(), ["4 Ok"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn a_batch_out_of_time_in_flight_swallows_its_late_ok() {
    let mut bench = Bench::folding();
    bench.publish_within("a", SECOND);
    bench.publish_within("a", SECOND);
    bench.publish("b");
    bench.hand_over();
    bench.wait(SECOND);
    assert_eq!(bench.told().len(), 2);
    bench.ok();
    assert!(bench.told().is_empty());
    bench.ok();
    assert_eq!(bench.told(), ["3 Ok"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn cancelled_in_flight_it_takes_nobody_else_out_of_the_batch() {
    let mut bench = Bench::folding();
    bench.publish_all("aaa");
    bench.hand_over();
    bench.cancel(2);
    // It is not sent again, and the others are.
    bench.lose(0);
    assert_eq!(bench.hand_over(), ["MPUB a 1 3"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn a_batch_lost_whole_may_be_written_and_lost_half_or_unsent_is_sent_again_as_a_whole() {
    let (whole, pair) = (mpub_size(&[1, 1]), |from: u8| [from, from + 1]);
    for taken in [whole, whole + 1, 2 * whole - 1] {
        let mut bench = Bench::folding_within(2, 900_000);
        bench.publish_all("aaaaaa");
        bench.hand_over();
        let settlement = bench.lose(taken);
        assert_eq!((settlement.maybe_written, settlement.requeued), (2, 4));
        let told = pair(1).map(|id| format!("{id} ConnectionLost MaybeWritten"));
        assert_eq!(bench.told(), told);
        assert_eq!(bench.hand_over(), ["MPUB a 3 4", "MPUB a 5 6"]);
        assert_eq!(bench.queue().counters().requeued, 4);
    }
    let mut bench = Bench::folding();
    bench.publish_all("aaa");
    bench.hand_over();
    bench.lose(mpub_size(&[1, 1, 1]) - 1);
    // It is as foldable as before, and with others.
    bench.publish("a");
    assert_eq!(bench.hand_over(), ["MPUB a 1 2 3 4"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn an_ok_for_a_batch_that_is_not_wholly_sent_is_not_believed() {
    let mut bench = Bench::folding();
    bench.publish_all("aa");
    bench.hand_over();
    let whole = mpub_size(&[1, 1]);
    assert!(bench.take_ok(whole - 1).is_err());
    assert!(bench.told().is_empty());
    bench.take_ok(whole).unwrap();
    assert_eq!(bench.told(), ["1 Ok", "2 Ok"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn at_least_once_sends_a_batch_again_and_never_calls_it_not_written() {
    let mut bench = Bench::folding();
    bench.queue().retry_maybe_written = true;
    bench.publish_all("aaa");
    bench.hand_over();
    bench.lose(u64::MAX);
    assert!(bench.told().is_empty());
    bench.cancel(2);
    assert_eq!(bench.hand_over(), ["MPUB a 1 3"]);
    assert_eq!(bench.told(), ["2 Closed MaybeWritten"]);
    bench.refuse("E_BAD_MESSAGE MPUB invalid message");
    assert_eq!(bench.hand_over(), ["PUB a 1", "PUB a 3"]);
    bench.refuse("E_BAD_MESSAGE PUB invalid message");
    assert_eq!(bench.told(), ["1 Rejected(BadMessage) MaybeWritten"]);
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn who_is_in_flight_in_a_batch_may_be_written_when_the_queue_ends_and_who_waits_is_not() {
    for dropped in [false, true] {
        let mut bench = Bench::folding();
        bench.publish_all("aa");
        bench.hand_over();
        bench.publish_all("aa");
        let kind = if dropped {
            bench.queue = None;
            "Closed"
        } else {
            bench.queue().fail_all(&Cause::Drained);
            "Drained"
        };
        let told = [(1, "Maybe"), (2, "Maybe"), (3, "Not"), (4, "Not")]
            .map(|(id, may)| format!("{id} {kind} {may}Written"));
        assert_eq!(bench.told(), told);
    }
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn the_tally_knows_commands_and_batches_and_the_latency_is_that_of_each() {
    let mut bench = Bench::folding();
    bench.publish("a");
    bench.wait(SECOND);
    bench.publish_all("aab");
    bench.ping();
    bench.batch("c", 1);
    assert_eq!(bench.hand_over().len(), 4);
    let counters = bench.queue().counters();
    assert_eq!(
        (counters.commands, counters.batches, counters.batched),
        (3, 1, 3)
    );
    bench.ok();
    bench.ok();
    assert_eq!(bench.told().len(), 4);
    let latency = bench.queue().latency();
    assert!(latency.quantile(0.5) < latency.max());
    assert_eq!(latency.max(), Some(SECOND));
    // What is sent again is sent: in another command.
    bench.lose(0);
    bench.hand_over();
    assert_eq!(bench.queue().counters().commands, 5);
}
