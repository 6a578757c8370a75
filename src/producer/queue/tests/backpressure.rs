//! The capacity of the queue: rejected publishes and waiting ones.

use super::*;

fn with_capacity(publishes: usize, bytes: usize) -> Bench {
    Bench::with(Limits {
        pending: usage(publishes, bytes),
        ..WIDE
    })
}

impl Bench {
    /// Accepts waiting publishes, sends what may be sent, and answers all of it with `OK`.
    fn round(&mut self) -> Vec<String> {
        self.queue().admit_waiters();
        let commands = self.send();
        self.oks(commands.len());
        commands
    }
}

/// contract: 6
/// checklist: 33
#[test]
fn full_queue_rejects_by_number_of_publishes() {
    let mut bench = with_capacity(2, 100);
    bench.publish_all("aa");
    bench.answers([]);
    let deadline = bench.queue().next_deadline();
    bench.publish_within("a", SECOND);
    assert_eq!(bench.queue().next_deadline(), deadline);
    bench.answers(["3 Full NotWritten"]);
    assert_eq!(
        bench.latest_error(),
        "queue is full: 2 publishes are outstanding and 1 more would exceed max_pending (2)"
    );
    bench.sends(["PUB a 1", "PUB a 2"]);
    bench.ok();
    bench.publish("a");
    bench.answers(["1 Ok"]);
}

/// contract: 6
/// checklist: 33
#[test]
fn full_queue_rejects_by_bytes_of_bodies() {
    let mut bench = with_capacity(100, 20);
    bench.publish_sized("a", 10);
    bench.multi_publish("a", 5);
    bench.answers([]);
    bench.publish_sized("a", 1);
    bench.answers(["3 Full NotWritten"]);
    assert_eq!(
        bench.latest_error(),
        "queue is full: 20 bytes are outstanding and 1 more would exceed max_pending_bytes (20)"
    );
    assert_eq!(bench.held(), (2, 20));
}

/// contract: 6
/// checklist: 33
#[test]
fn full_queue_removes_cancelled_publishes() {
    let mut bench = with_capacity(2, 100);
    let ids = [bench.publish("a"), bench.publish("a")];
    bench.cancel(ids[0]);
    bench.publish("a");
    bench.answers(["1 Closed NotWritten"]);
    // A pass over all publishes is made every 20 ms at most.
    bench.cancel(ids[1]);
    bench.publish("a");
    bench.answers(["4 Full NotWritten"]);
    bench.now += Duration::from_millis(20);
    bench.publish("a");
    bench.answers(["2 Closed NotWritten"]);
    bench.sends(["PUB a 3", "PUB a 5"]);
    // Those in flight are not removed.
    bench.cancel(3);
    bench.now += Duration::from_millis(20);
    bench.publish("a");
    bench.answers(["6 Full NotWritten"]);
}

/// checklist: 33
#[test]
fn waiting_publishes_are_accepted_in_order() {
    let mut bench = with_capacity(2, 100);
    for _ in 0..6 {
        bench.publish_waiting(1, 30 * SECOND);
    }
    bench.cancel(4);
    assert_eq!(bench.held(), (2, 2));
    assert_eq!(bench.queue().waiting_for_capacity(), 4);
    bench.wait(SECOND);
    assert_eq!(bench.round(), ["PUB a 1", "PUB a 2"]);
    assert_eq!(bench.round(), ["PUB a 3", "PUB a 5"]);
    assert!(!bench.queue().is_empty());
    bench.wait(SECOND);
    assert_eq!(bench.round(), ["PUB a 6"]);
    assert!(bench.queue().is_empty());
    bench.answers_each([1, 2, 3, 5, 6], "Ok");
    // The cancelled one is not counted, and the latency includes the time of waiting.
    assert_eq!(bench.queue().waiting_for_capacity(), 0);
    assert_eq!(bench.queue().counters().published, 5);
    assert_eq!(bench.queue().latency().max(), Some(2 * SECOND));
}

/// checklist: 33
#[test]
fn waiting_publish_is_not_overtaken() {
    let mut bench = with_capacity(1, 100);
    bench.publish("a");
    bench.publish_waiting(1, SECOND);
    bench.send();
    bench.ok();
    bench.publish("a");
    bench.publish_waiting(1, SECOND);
    bench.answers(["1 Ok", "3 Full NotWritten"]);
    assert_eq!(bench.round(), ["PUB a 2"]);
    assert_eq!(bench.round(), ["PUB a 4"]);

    // Not even by a small one that would fit.
    let mut bench = with_capacity(10, 10);
    bench.publish_sized("a", 5);
    bench.publish_waiting(8, SECOND);
    bench.publish_waiting(1, SECOND);
    bench.publish("a");
    bench.answers(["4 Full NotWritten"]);
    assert_eq!(
        bench.latest_error(),
        "queue is full: 5 bytes are outstanding and 9 more would exceed max_pending_bytes (10)"
    );
    bench.cancel(2);
    bench.publish("a");
    bench.answers([]);
    assert_eq!(bench.round(), ["PUB a 1", "PUB a 3", "PUB a 5"]);
}

/// checklist: 33
#[test]
fn publish_larger_than_the_capacity_does_not_wait() {
    let mut bench = with_capacity(2, 10);
    bench.publish_waiting(11, SECOND);
    bench.answers(["1 Full NotWritten"]);
    assert!(bench.queue().is_empty());
}

/// checklist: 33
#[test]
fn capacity_of_unsent_publishes_goes_to_waiting_ones() {
    let mut bench = with_capacity(2, 100);
    bench.publish_all("aa");
    bench.publish_waiting(50, SECOND);
    bench.publish_waiting(1, SECOND);
    bench.publish_waiting(1, SECOND);
    bench.publish_waiting(1, SECOND);
    for id in [1, 2, 6] {
        bench.cancel(id);
    }
    // The first waiting one is not sent either.
    let error = server_error("E_BAD_MESSAGE PUB message too big 50 > 9");
    bench.queue().server_limits.learn(&error);
    bench.sends(["PUB a 4", "PUB a 5"]);
    assert_eq!(bench.take_answers().len(), 3);
    assert_eq!(bench.queue().admission.len(), 0);
}

/// checklist: 33
#[test]
fn cancelled_waiting_publishes_do_not_accumulate() {
    let mut bench = with_capacity(1, 100);
    bench.publish("a");
    bench.publish_waiting(1, SECOND);
    for entries in 2..=64 {
        let id = bench.publish_waiting(1, SECOND);
        bench.cancel(id);
        assert_eq!(bench.queue().admission.len(), entries);
    }
    bench.publish_waiting(1, SECOND);
    assert_eq!(bench.queue().admission.len(), 2);
    for _ in 0..10_000 {
        let id = bench.publish_waiting(1, SECOND);
        bench.cancel(id);
    }
    assert!(bench.queue().admission.len() <= 64);
}

fn with_capacity_per_topic(publishes: usize, per_topic: usize) -> Bench {
    Bench::with(Limits {
        pending_per_topic: Some(per_topic),
        pending: usage(publishes, 1000),
        ..BATCHING
    })
}

/// contract: 4
/// checklist: 33
#[test]
fn rejected_topic_answers_publishes_that_wait_for_capacity() {
    for text in ["E_UNAUTHORIZED no", "E_BAD_TOPIC no"] {
        let mut bench = with_capacity(1, 100);
        bench.publish("a");
        bench.publish_waiting_to("a", 1);
        bench.publish_waiting_to("b", 1);
        bench.publish_waiting_to("a", 1);
        bench.send();
        bench.reject(text);
        let answers = bench.take_answers();
        assert_eq!(answers.len(), 3, "{answers:?}");
        assert!(answers.iter().all(|answer| answer.contains("Rejected")));
        assert_eq!(bench.round(), ["PUB b 3"]);
        bench.answers(["3 Ok"]);
        assert_eq!(bench.queue().counters().published, 4);
    }
}

/// contract: 4
#[test]
fn required_tls_answers_publishes_that_wait_for_capacity() {
    let mut bench = with_capacity(1, 100);
    bench.publish("a");
    bench.publish_waiting_to("b", 1);
    let cancelled = bench.publish_waiting_to("c", 1);
    bench.cancel(cancelled);
    bench.send();
    bench.reject("E_INVALID cannot PUB (TLS required)");
    bench.answers_each([1, 2], "Rejected(Invalid) NotWritten");
    assert!(bench.queue().is_empty());
}

/// contract: 4
#[test]
fn named_limit_answers_publishes_that_wait_for_capacity() {
    let mut bench = with_capacity(1, 100);
    bench.publish_sized("a", 50);
    bench.publish_waiting_to("b", 60);
    bench.publish_waiting_to("b", 9);
    bench.send();
    bench.reject("E_BAD_MESSAGE PUB message too big 50 > 9");
    bench.answers_each([1, 2], "Rejected(BadMessage) NotWritten");
    assert_eq!(bench.round(), ["PUB b 3"]);
}

/// checklist: 33
#[test]
fn full_topic_rejects_only_its_own_publishes() {
    let mut bench = with_capacity_per_topic(100, 2);
    bench.publish_all("aaab");
    bench.answers(["3 Full NotWritten"]);
    assert_eq!(
        bench.latest_error(),
        "queue is full: 2 publishes of the topic are outstanding and 1 more would exceed \
         max_pending_per_topic (2)"
    );
    bench.sends(["MPUB a 1 2", "PUB b 4"]);
    bench.ok();
    bench.publish("a");
    bench.answers(["1 Ok", "2 Ok"]);
}

/// checklist: 33
#[test]
fn publishes_that_wait_for_their_topic_hold_up_no_other() {
    let mut bench = with_capacity_per_topic(4, 2);
    for _ in 0..4 {
        bench.publish_waiting_to("a", 1);
    }
    bench.publish_waiting_to("b", 1);
    bench.publish("b");
    assert_eq!(bench.held(), (4, 4));
    // Now the queue is full as well.
    bench.publish_waiting_to("c", 1);
    bench.publish("a");
    bench.answers(["8 Full NotWritten"]);
    assert_eq!(bench.round(), ["MPUB a 1 2", "MPUB b 5 6"]);
    // Those of the topic that was full come first, in their order.
    assert_eq!(bench.round(), ["MPUB a 3 4", "PUB c 7"]);
    assert_eq!(bench.queue().waiting_for_capacity(), 0);
    assert!(bench.queue().is_empty());
}

/// checklist: 33
#[test]
fn publishes_that_wait_for_their_topic_are_answered() {
    for cancels in [false, true] {
        let mut bench = with_capacity_per_topic(100, 1);
        bench.publish("a");
        for _ in 0..1_000 {
            let id = bench.publish_waiting_to("a", 1);
            if cancels {
                bench.cancel(id);
            }
        }
        bench.queue().remove_cancelled();
        let waiting = if cancels { 0 } else { 1_000 };
        assert_eq!(bench.queue().waiting_for_capacity(), waiting);
        bench.wait(30 * SECOND);
        assert_eq!(bench.take_answers().len(), 1 + waiting);
        assert!(bench.queue().is_empty());
        assert_eq!(bench.held(), (0, 0));
    }
}

/// checklist: 33
#[test]
fn full_topic_holds_up_no_other_while_a_pass_is_under_way() {
    let mut bench = Bench::with(Limits {
        pending_per_topic: Some(10),
        budget: 4,
        ..BATCHING
    });
    for _ in 0..10 {
        bench.publish("a");
        bench.finish_jobs();
    }
    bench.publish_waiting_to("a", 1);
    assert!(bench.queue().has_work());
    bench.publish("b");
    bench.finish_jobs();
    bench.answers([]);
    assert_eq!(bench.held().0, 11);
    assert_eq!(bench.queue().waiting_for_capacity(), 1);
}

/// checklist: 33
#[test]
fn lines_of_topics_return_their_memory() {
    let mut bench = with_capacity_per_topic(1_000, 1);
    for round in 0..3 {
        for topic in 0..100 {
            for _ in 0..3 {
                bench.publish_waiting_to(&format!("{round}_{topic}"), 1);
            }
        }
        assert_eq!(bench.queue().waiting_for_capacity(), 200);
        bench.wait(30 * SECOND);
        assert_eq!(bench.take_answers().len(), 300);
        assert_eq!(bench.queue().admission.memory(), 0);
    }
}
