//! Tests of the held messages by rule, and a model that plays random schedules.

mod model;

use std::collections::VecDeque;
use std::time::Duration;

use super::*;
use crate::consumer::{
    backoff::{BackoffOptions, BackoffStrategy},
    flow::{Flow, FlowOptions},
};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const TIMING: Timing = Timing {
    timeout: ms(900),
    max_timeout: ms(3_000),
    margin: ms(50),
};

fn key(serial: u32) -> ConnectionKey {
    ConnectionKey { nsqd: 0, serial }
}

fn id(number: u64) -> MessageId {
    let mut id = [b'0'; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    MessageId::new(id)
}

/// The first start of a consumer without failures.
fn start() -> Start {
    let flow = Flow::new(FlowOptions {
        max_in_flight: 1,
        low_rdy_idle_timeout: ms(50),
        low_rdy_timeout: ms(500),
        backoff: BackoffOptions {
            strategy: BackoffStrategy::Exponential,
            multiplier: ms(1_000),
            max: ms(120_000),
        },
    });
    Start {
        window: flow.window(),
        nanos: 0,
    }
}

/// One open connection with a clock.
struct Bench {
    held: InFlight,
    waiting: VecDeque<(Ticket, u64)>,
    now: Instant,
}

impl Bench {
    fn new(auto_touch: bool) -> Self {
        let mut held = InFlight::new(auto_touch);
        held.open(key(0), TIMING);
        let now = Instant::now();
        Self {
            held,
            waiting: VecDeque::new(),
            now,
        }
    }

    fn receive(&mut self, number: u64, attempts: u16) -> Received {
        let received = self.held.receive(key(0), id(number), attempts, self.now);
        if let Received::Waiting(ticket) = received {
            self.waiting.push_back((ticket, number));
        }
        received
    }

    /// Starts the message that has waited longest.
    fn start(&mut self) -> Option<(Ticket, u64)> {
        loop {
            let (ticket, number) = self.waiting.pop_front()?;
            if self.held.start(ticket, start(), self.now).is_some() {
                return Some((ticket, number));
            }
        }
    }

    /// Receives a message and starts it.
    fn started(&mut self, number: u64) -> Ticket {
        assert!(is_waiting(self.receive(number, 1)));
        let (ticket, started) = self.start().unwrap();
        assert_eq!(started, number);
        ticket
    }

    fn pass(&mut self, time: Duration) -> Vec<Due> {
        self.now += time;
        std::iter::from_fn(|| self.held.take_due(self.now, self.now)).collect()
    }

    fn finish(&mut self, ticket: Ticket) -> Option<Answered> {
        self.held.answer(ticket, true, self.now)
    }

    fn requeue(&mut self, ticket: Ticket) -> Option<Answered> {
        self.held.answer(ticket, false, self.now)
    }
}

fn is_waiting(received: Received) -> bool {
    matches!(received, Received::Waiting(_))
}

fn expired(number: u64, is_started: bool) -> Due {
    Due::Expired {
        key: key(0),
        id: id(number),
        started: is_started.then(start),
    }
}

/// consumer contract: 1
#[test]
fn first_answer_counts() {
    let mut bench = Bench::new(false);
    let ticket = bench.started(1);
    let answered = bench.finish(ticket).unwrap();
    assert_eq!((answered.id, answered.is_expired), (id(1), false));
    assert_eq!(bench.requeue(ticket), None);
    // The slot is used again: an old ticket does not answer the new message.
    bench.started(2);
    assert_eq!(bench.finish(ticket), None);
    assert_eq!(bench.held.started(), 1);
}

/// consumer contract: 7
#[test]
fn message_not_started_by_its_deadline_is_not_started() {
    let mut bench = Bench::new(false);
    bench.receive(1, 1);
    assert_eq!(bench.pass(ms(899)), []);
    assert_eq!(bench.pass(ms(1)), [expired(1, false)]);
    assert_eq!(bench.start(), None);
    assert_eq!(bench.held.waiting(), 0);
}

#[test]
fn expired_message_of_a_handler_is_not_held() {
    let mut bench = Bench::new(false);
    let ticket = bench.started(1);
    assert_eq!(bench.held.held(key(0)), 1);
    assert_eq!(bench.pass(ms(900)), [expired(1, true)]);
    assert_eq!(bench.held.held(key(0)), 0);
    assert_eq!(bench.held.started(), 1);
    assert!(bench.requeue(ticket).unwrap().is_expired);
    assert_eq!((bench.held.held(key(0)), bench.held.started()), (0, 0));
}

/// If the arbiter was blocked, answers are taken before deadlines are judged. nsqd has requeued the
/// message: REQ and TOUCH would concern its next delivery.
/// consumer contract: 1, 3
#[test]
fn answer_after_the_deadline_is_late_before_it_is_judged() {
    let mut bench = Bench::new(false);
    let (requeued, finished) = (bench.started(1), bench.started(2));
    bench.now += ms(900);
    assert_eq!(bench.held.touch(requeued, bench.now), None);
    let answered = bench.requeue(requeued).unwrap();
    assert_eq!((answered.is_expired, answered.was_held), (true, true));
    assert!(bench.finish(finished).unwrap().is_expired);
    assert_eq!((bench.held.held(key(0)), bench.held.started()), (0, 0));
    assert_eq!(bench.receive(2, 2), Received::FinishedBefore);
    assert_eq!(bench.pass(ms(1)), []);
}

/// consumer contract: 7
#[test]
fn many_messages_of_a_lost_connection_are_due_at_once() {
    let mut bench = Bench::new(true);
    for number in 0..100_000 {
        bench.started(number);
    }
    bench.held.close(key(0));
    assert_eq!(bench.pass(ms(600)), []);
    assert_eq!(bench.pass(ms(300)).len(), 100_000);
}

/// consumer contract: 3
#[test]
fn redelivery_is_attached_to_the_running_handler() {
    let mut bench = Bench::new(false);
    let ticket = bench.started(1);
    bench.pass(ms(900));
    let attached = Received::Attached { was_held: false };
    assert_eq!(bench.receive(1, 2), attached);
    assert_eq!(bench.start(), None);
    assert_eq!(bench.held.held(key(0)), 1);
    let answered = bench.finish(ticket).unwrap();
    assert_eq!((answered.attempts, answered.is_expired), (2, false));
}

/// If the arbiter was blocked, a redelivery is read before the deadline of the first copy is
/// judged.
/// consumer contract: 3
#[test]
fn redelivery_before_the_deadline_is_attached_too() {
    let mut bench = Bench::new(false);
    let ticket = bench.started(1);
    let attached = Received::Attached { was_held: true };
    assert_eq!(bench.receive(1, 2), attached);
    assert_eq!(bench.held.held(key(0)), 1);
    assert!(is_waiting(bench.receive(2, 1)));
    assert_eq!(bench.receive(2, 2), Received::Replaced);
    assert_eq!(bench.held.waiting(), 1);
    assert!(bench.finish(ticket).is_some());
    assert_eq!(bench.start().map(|it| it.1), Some(2));
    assert_eq!(bench.start(), None);
}

/// consumer contract: 3
#[test]
fn message_finished_too_late_is_finished_again() {
    let mut bench = Bench::new(false);
    let ticket = bench.started(1);
    bench.pass(ms(900));
    assert!(bench.finish(ticket).unwrap().is_expired);
    assert_eq!(bench.receive(1, 2), Received::FinishedBefore);
    assert_eq!(bench.held.waiting(), 0);
    // One that was requeued too late is handled again.
    let ticket = bench.started(2);
    bench.pass(ms(900));
    bench.requeue(ticket);
    assert!(is_waiting(bench.receive(2, 2)));
}

#[test]
fn at_most_1000_late_finishes_are_remembered() {
    let mut bench = Bench::new(false);
    for number in 0..1_001 {
        let ticket = bench.started(number);
        bench.pass(ms(900));
        bench.finish(ticket);
    }
    assert!(is_waiting(bench.receive(0, 2)));
    assert_eq!(bench.receive(1, 2), Received::FinishedBefore);
}

#[test]
fn answer_near_the_deadline_is_late() {
    let mut bench = Bench::new(false);
    let (early, late) = (bench.started(1), bench.started(2));
    bench.pass(ms(849));
    assert!(!bench.finish(early).unwrap().is_late);
    bench.pass(ms(1));
    assert!(bench.finish(late).unwrap().is_late);
}

/// If nsqd has requeued it and sent another, returning it frees no capacity.
/// consumer contract: 4
#[test]
fn message_returned_near_the_deadline_is_late() {
    let mut bench = Bench::new(false);
    bench.receive(1, 1);
    bench.pass(ms(849));
    bench.receive(2, 1);
    bench.pass(ms(1));
    let returned = bench.held.return_waiting(None, bench.now);
    let late: Vec<_> = returned.iter().map(|it| (it.id, it.is_late)).collect();
    assert_eq!(late, [(id(1), true), (id(2), false)]);
}

/// consumer contract: 7
#[test]
fn touch_extends_the_deadline_up_to_the_maximum() {
    let mut bench = Bench::new(false);
    let ticket = bench.started(1);
    for _ in 0..5 {
        assert_eq!(bench.pass(ms(500)), []);
        let touched = bench.held.touch(ticket, bench.now);
        assert_eq!(touched, Some((key(0), id(1))));
    }
    // 2.5 s: the deadline is 3 s, and nothing extends it.
    assert_eq!(bench.held.touch(ticket, bench.now), None);
    assert_eq!(bench.pass(ms(499)), []);
    assert_eq!(bench.pass(ms(1)), [expired(1, true)]);
    assert_eq!(bench.held.touch(ticket, bench.now), None);
}

/// consumer contract: 7
#[test]
fn auto_touch_touches_at_two_thirds_while_it_has_an_effect() {
    let mut bench = Bench::new(true);
    let _running = bench.started(1);
    bench.receive(2, 1);
    let touch = Due::Touch {
        key: key(0),
        id: id(1),
    };
    assert_eq!(bench.pass(ms(599)), []);
    assert_eq!(bench.pass(ms(1)), [touch]);
    // A message that waits is not touched.
    assert_eq!(bench.pass(ms(300)), [expired(2, false)]);
    assert_eq!(bench.pass(ms(300)), [touch]);
    assert_eq!(bench.pass(ms(600)), [touch]);
    assert_eq!(bench.pass(ms(600)), [touch]);
    // 2.4 s: the deadline is 3 s, and nothing extends it.
    assert_eq!(bench.pass(ms(599)), []);
    assert_eq!(bench.pass(ms(1)), [expired(1, true)]);
}

/// consumer contract: 7
#[test]
fn auto_touch_does_not_touch_after_the_deadline() {
    let mut bench = Bench::new(true);
    bench.started(1);
    let due = bench.now + ms(600);
    // The arbiter was blocked.
    bench.now += ms(900);
    assert_eq!(bench.held.take_due(due, bench.now), None);
    assert_eq!(bench.pass(ms(0)), [expired(1, true)]);
}

/// consumer contract: 1, 2
#[test]
fn messages_of_a_lost_connection_stay_until_their_deadline() {
    let mut bench = Bench::new(false);
    let ticket = bench.started(1);
    bench.receive(2, 1);
    bench.receive(3, 1);
    bench.held.close(key(0));
    bench.held.open(key(1), TIMING);
    // They are still handled; their answers cannot be written.
    assert_eq!(bench.start().map(|it| it.1), Some(2));
    assert!(!bench.finish(ticket).unwrap().is_open);
    assert_eq!(bench.held.touch(ticket, bench.now), None);
    assert!(bench.held.is_with_a_handler_elsewhere(key(1), id(2)));
    assert!(!bench.held.is_with_a_handler_elsewhere(key(1), id(3)));
    let other_nsqd = ConnectionKey { nsqd: 1, serial: 2 };
    assert!(!bench.held.is_with_a_handler_elsewhere(other_nsqd, id(2)));
    let received = bench.held.receive(key(1), id(4), 1, bench.now);
    let Received::Waiting(ticket) = received else {
        panic!("{received:?}");
    };
    assert!(bench.held.start(ticket, start(), bench.now).is_some());
    assert!(!bench.held.is_with_a_handler_elsewhere(key(1), id(4)));
    assert_eq!(bench.pass(ms(900)).len(), 3);
    assert_eq!(bench.start(), None);
}

/// consumer contract: 11
#[test]
fn messages_are_returned_and_later_answers_do_not_count() {
    let mut bench = Bench::new(false);
    let ticket = bench.started(1);
    bench.receive(2, 1);
    let returned = |number| Returned {
        key: key(0),
        id: id(number),
        is_held: true,
        is_late: false,
        is_open: true,
    };
    assert_eq!(bench.held.return_waiting(Some(key(1)), bench.now), []);
    assert_eq!(bench.held.return_waiting(None, bench.now), [returned(2)]);
    assert_eq!(bench.held.return_started(None, bench.now), [returned(1)]);
    assert_eq!(bench.finish(ticket), None);
    assert_eq!((bench.held.waiting(), bench.held.started()), (0, 0));
}
