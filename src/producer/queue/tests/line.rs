//! Waiting for room: in the order of coming, within the dead-line, ahead of all that comes later, and without a trace of
//! those who go away.

use super::*;

fn room_for(publishes: usize, bytes: usize) -> Bench {
    Bench::with(Limits {
        pending: Usage { publishes, bytes },
        ..WIDE
    })
}

impl Bench {
    fn publish_patiently(&mut self, topic: &str, size: usize) -> usize {
        self.publish_patiently_within(topic, size, 30 * SECOND)
    }

    fn publish_patiently_within(&mut self, topic: &str, size: usize, timeout: Duration) -> usize {
        let transaction = Transaction {
            topic: Topic::new(topic).unwrap(),
            payload: Payload::Publish(self.body(size)),
            timeout,
        };
        let (now, caller) = (self.now, self.caller());
        self.queue().push(transaction, WhenFull::Wait, now, caller);
        self.callers.len()
    }

    /// All that waits is handed over and answered `Ok`, as far as there is room, once.
    fn round(&mut self) -> Vec<String> {
        self.queue().admit_waiters();
        let sent = self.hand_over();
        sent.iter().for_each(|_| self.ok());
        sent
    }
}

/// checklist: 33
#[test]
fn with_room_it_is_a_publish_like_any_other() {
    let mut bench = room_for(2, 100);
    bench.publish_patiently("a", 1);
    bench.publish("a");
    assert_eq!(bench.held(), (2, 2));
    assert_eq!(bench.round(), ["PUB a 1", "PUB a 2"]);
    assert_eq!(bench.told(), ["1 Ok", "2 Ok"]);
}

/// checklist: 33
#[test]
fn those_who_wait_come_in_their_order_as_room_comes() {
    let mut bench = room_for(2, 100);
    for _ in 0..5 {
        bench.publish_patiently("a", 1);
    }
    assert_eq!(bench.held(), (2, 2));
    assert_eq!(bench.round(), ["PUB a 1", "PUB a 2"]);
    assert_eq!(bench.round(), ["PUB a 3", "PUB a 4"]);
    assert!(!bench.queue().is_empty());
    assert_eq!(bench.round(), ["PUB a 5"]);
    assert!(bench.queue().is_empty());
    assert_eq!(bench.told(), ["1 Ok", "2 Ok", "3 Ok", "4 Ok", "5 Ok"]);
}

/// checklist: 33
#[test]
fn nobody_overtakes_those_who_wait() {
    let mut bench = room_for(1, 100);
    bench.publish("a");
    bench.publish_patiently("a", 1);
    bench.hand_over();
    bench.ok();
    // There is room now, and somebody has been waiting for it.
    bench.publish("a");
    bench.publish_patiently("a", 1);
    assert_eq!(bench.told(), ["1 Ok", "3 Full NotWritten"]);
    assert_eq!(bench.round(), ["PUB a 2"]);
    assert_eq!(bench.round(), ["PUB a 4"]);
}

/// checklist: 33
#[test]
fn a_small_one_does_not_pass_a_large_one_that_waits_for_bytes() {
    let mut bench = room_for(10, 10);
    bench.publish_sized("a", 5);
    bench.publish_patiently("a", 8);
    bench.publish_patiently("a", 1);
    bench.publish("a");
    assert_eq!(bench.told(), ["4 Full NotWritten"]);
    let text =
        "queue is full: 5 bytes are outstanding and 9 more would exceed max_pending_bytes (10)";
    assert_eq!(bench.latest(), text);
    assert_eq!(bench.round(), ["PUB a 1"]);
    assert_eq!(bench.round(), ["PUB a 2", "PUB a 3"]);
}

/// checklist: 33
#[test]
fn what_can_never_have_room_is_told_so_at_once() {
    let mut bench = room_for(2, 10);
    bench.publish_patiently("a", 11);
    assert_eq!(bench.told(), ["1 Full NotWritten"]);
    assert!(bench.queue().is_empty());
}

/// checklist: 33
#[test]
fn waiting_for_room_is_part_of_its_time() {
    let mut bench = room_for(1, 100);
    let due = bench.now + 3 * SECOND;
    bench.publish("a");
    bench.publish_patiently_within("a", 1, 3 * SECOND);
    bench.publish_patiently_within("a", 1, 4 * SECOND);
    assert_eq!(bench.queue().next_deadline(), Some(due));
    bench.wait(2 * SECOND);
    assert_eq!(bench.round(), ["PUB a 1"]);
    bench.queue().admit_waiters();
    bench.told();
    // The second was accepted after two of its three seconds; the third waits on.
    bench.wait(SECOND);
    assert_eq!(bench.told(), ["2 Timeout NotWritten"]);
    assert_eq!(bench.queue().next_deadline(), Some(due + SECOND));
    assert_eq!(
        bench.latest(),
        "not sent within 3s; last connection error: closed by the peer"
    );
    bench.queue().admit_waiters();
    bench.hand_over();
    bench.wait(SECOND);
    assert_eq!(bench.told(), ["3 Timeout MaybeWritten"]);
}

/// checklist: 33
#[test]
fn one_that_never_had_room_times_out_and_is_not_written() {
    let mut bench = room_for(1, 100);
    bench.publish("a");
    bench.publish_patiently_within("a", 1, SECOND);
    bench.hand_over();
    bench.wait(SECOND);
    assert_eq!(bench.told(), ["2 Timeout NotWritten"]);
    let counters = bench.queue().counters();
    assert_eq!((counters.published, counters.not_written), (2, 1));
    assert_eq!((counters.timed_out, counters.rejected_full), (1, 0));
}

/// checklist: 33
#[test]
fn whoever_goes_away_while_waiting_leaves_no_trace_and_holds_up_nobody() {
    let mut bench = room_for(1, 10);
    bench.publish("a");
    bench.publish_patiently("a", 10);
    bench.publish_patiently("a", 1);
    bench.cancel(2);
    assert_eq!(bench.round(), ["PUB a 1"]);
    assert_eq!(bench.round(), ["PUB a 3"]);
    bench.publish("a");
    bench.publish_patiently_within("a", 1, SECOND);
    bench.cancel(5);
    bench.wait(SECOND);
    bench.queue().fail_all(&Cause::Drained);
    assert_eq!(bench.told(), ["1 Ok", "3 Ok", "4 Drained NotWritten"]);
    assert!(bench.queue().is_empty());
    let counters = bench.queue().counters();
    assert_eq!((counters.published, counters.not_written), (3, 1));
}

/// checklist: 33
#[test]
fn the_line_of_those_who_have_gone_does_not_grow() {
    let mut bench = room_for(1, 100);
    bench.publish("a");
    for _ in 0..10_000 {
        let id = bench.publish_patiently("a", 1);
        bench.cancel(id);
    }
    assert!(bench.queue().admission.entries() <= 64);
    let ids: Vec<_> = (0..1000).map(|_| bench.publish_patiently("a", 1)).collect();
    ids.iter().for_each(|id| bench.cancel(*id));
    bench.publish_patiently("a", 1);
    assert!(bench.queue().admission.entries() <= 2 * 1000 + 64);
}

/// checklist: 33
#[test]
fn whoever_waits_is_counted_once_and_its_latency_is_its_whole_time() {
    let mut bench = room_for(1, 100);
    bench.publish("a");
    bench.publish_patiently("a", 1);
    assert_eq!(bench.queue().counters().published, 1);
    bench.wait(2 * SECOND);
    bench.round();
    bench.wait(2 * SECOND);
    bench.round();
    let counters = bench.queue().counters();
    assert_eq!(
        (counters.published, counters.ok, counters.rejected_full),
        (2, 2, 0)
    );
    let latency = bench.queue().latency();
    assert_eq!(latency.max(), Some(4 * SECOND));
}

/// checklist: 33
#[test]
fn a_queue_that_is_dropped_or_given_up_answers_those_who_wait() {
    for drained in [true, false] {
        let mut bench = room_for(1, 100);
        bench.publish("a");
        bench.publish_patiently("a", 1);
        bench.publish_patiently("a", 1);
        let kind = if drained {
            bench.queue().fail_all(&Cause::Drained);
            "Drained"
        } else {
            bench.queue = None;
            "Closed"
        };
        let told = [1, 2, 3].map(|id| format!("{id} {kind} NotWritten"));
        assert_eq!(bench.told(), told);
    }
}

/// checklist: 33
#[test]
fn the_room_of_those_who_went_away_is_given_to_those_who_wait_at_once() {
    let mut bench = room_for(2, 100);
    let gone = [bench.publish("a"), bench.publish("a")];
    for _ in 0..2 {
        bench.publish_patiently("a", 1);
    }
    let gone_too = bench.publish_patiently("a", 1);
    gone.iter().for_each(|&id| bench.cancel(id));
    bench.cancel(gone_too);
    // No answer will come that could bring another look.
    assert_eq!(bench.hand_over(), ["PUB a 3", "PUB a 4"]);
    assert_eq!(bench.queue().admission.entries(), 0);
}

/// checklist: 33
#[test]
fn one_who_waits_and_is_unfit_does_not_hold_up_those_behind() {
    let mut bench = room_for(1, 100);
    let gone = bench.publish("a");
    bench.publish_patiently("a", 50);
    bench.publish_patiently("a", 1);
    bench.cancel(gone);
    bench
        .queue()
        .server_limits
        .learn(&refusal("E_BAD_MESSAGE PUB message too big 50 > 9"));
    assert_eq!(bench.hand_over(), ["PUB a 3"]);
    assert_eq!(bench.told().len(), 2);
}

/// checklist: 33
#[test]
fn there_is_no_room_where_the_first_who_waits_would_take_it() {
    let mut bench = room_for(10, 10);
    bench.publish_sized("a", 5);
    let waiting = bench.publish_patiently("a", 8);
    bench.publish("a");
    assert_eq!(bench.told(), ["3 Full NotWritten"]);
    bench.cancel(waiting);
    bench.publish("a");
    assert!(bench.told().is_empty());
}

/// checklist: 33
#[test]
fn the_line_is_looked_through_only_when_it_has_grown() {
    let mut bench = room_for(1, 100);
    bench.publish("a");
    bench.publish_patiently("a", 1);
    for length in 2..=64 {
        let id = bench.publish_patiently("a", 1);
        bench.cancel(id);
        assert_eq!(bench.queue().admission.entries(), length);
    }
    bench.publish_patiently("a", 1);
    assert_eq!(bench.queue().admission.entries(), 2);
}
