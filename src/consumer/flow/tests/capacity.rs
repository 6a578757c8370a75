//! Accounting of one connection.

use super::*;
use crate::consumer::flow::capacity::Capacity;

/// With this RDY, written at `now`, and all of it received.
fn full(rdy: u32) -> (Capacity, Instant) {
    let mut capacity = Capacity::new(2500, ROUND_TRIP);
    capacity.raise(rdy);
    capacity.received(rdy);
    (capacity, Instant::now())
}

#[test]
fn answer_behind_lower_rdy_lowers_bound() {
    let (mut capacity, now) = full(5);
    capacity.lower(2, now);
    assert_eq!(capacity.bound(), 5);
    capacity.answered(2, false);
    assert_eq!(capacity.bound(), 5, "the answers are not written yet");
    capacity.write_answers(now);
    assert_eq!(capacity.bound(), 3);
    capacity.answered(3, false);
    capacity.write_answers(now);
    assert_eq!(capacity.bound(), 2, "nsqd may send as many as RDY");
    assert_eq!(capacity.settles(), None);
}

#[test]
fn answer_without_lower_rdy_keeps_bound() {
    let (mut capacity, now) = full(5);
    capacity.answered(3, false);
    capacity.write_answers(now);
    assert_eq!((capacity.bound(), capacity.held()), (5, 2));
    assert_eq!(capacity.settles(), None);
}

#[test]
fn settle_time_lowers_bound_to_held() {
    let mut capacity = Capacity::new(2500, ROUND_TRIP);
    let now = Instant::now();
    capacity.raise(10);
    capacity.received(4);
    capacity.lower(1, now);
    assert_eq!(capacity.settles(), Some(now + SETTLED));
    assert!(!capacity.settle(now + SETTLED - ms(1)));
    assert_eq!(capacity.bound(), 10);
    assert!(capacity.settle(now + SETTLED));
    assert_eq!(capacity.bound(), 4);
    assert_eq!(capacity.settles(), None);
}

#[test]
fn settle_time_counts_unwritten_answers_as_held() {
    let (mut capacity, now) = full(5);
    capacity.lower(0, now);
    capacity.answered(2, false);
    assert!(capacity.settle(now + SETTLED));
    assert_eq!(capacity.bound(), 5);
    capacity.write_answers(now + SETTLED);
    assert_eq!(capacity.bound(), 3);
}

/// nsqd requeued a message and sent another, before the first one expired here.
#[test]
fn settle_time_never_raises_bound() {
    let (mut capacity, now) = full(2);
    capacity.received(1);
    capacity.lower(0, now);
    capacity.settle(now + SETTLED);
    assert_eq!((capacity.held(), capacity.bound()), (3, 2));
}

#[test]
fn late_answer_frees_nothing_before_settle_time() {
    let (mut capacity, now) = full(2);
    capacity.lower(0, now);
    capacity.settle(now + SETTLED);
    let now = now + ms(100);
    capacity.answered(2, true);
    capacity.write_answers(now);
    assert_eq!((capacity.held(), capacity.bound()), (0, 2));
    assert_eq!(capacity.settles(), Some(now + SETTLED));
    capacity.settle(now + SETTLED);
    assert_eq!(capacity.bound(), 0);
}

#[test]
fn expired_last_message_above_rdy_frees_its_place() {
    let (mut capacity, now) = full(2);
    capacity.lower(1, now);
    capacity.settle(now + SETTLED);
    assert_eq!((capacity.bound(), capacity.settles()), (2, None));
    let now = now + ms(1_000);
    capacity.expired(1, now);
    assert_eq!(capacity.bound(), 2, "nsqd may have filled the place again");
    assert_eq!(capacity.settles(), Some(now + SETTLED));
    capacity.settle(now + SETTLED);
    assert_eq!(capacity.bound(), 1);
}

#[test]
fn raised_rdy_ends_the_settle_time_it_covers() {
    let (mut capacity, now) = full(5);
    capacity.lower(2, now);
    capacity.raise(4);
    assert_eq!(
        (capacity.bound(), capacity.settles()),
        (5, Some(now + SETTLED))
    );
    capacity.raise(5);
    assert_eq!((capacity.bound(), capacity.settles()), (5, None));
}
