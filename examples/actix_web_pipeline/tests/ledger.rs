//! The ledger recognizes every repeated delivery.

use std::sync::Arc;

use crate::{
    ledger::{ABANDONED_AFTER, Claim, Counts, Ledger, MAX_OPEN},
    order::{Item, Order, OrderResult},
    snapshot::QUIET,
};

fn item() -> Item {
    Item {
        item: "tea".to_owned(),
        quantity: 1,
    }
}

fn published(ledger: &Arc<Ledger>) -> Order {
    let request = ledger.begin(item()).unwrap();
    let order = request.order().clone();
    request.published();
    order
}

#[test]
fn order_is_handled_once_however_often_it_is_delivered() {
    let ledger = Arc::new(Ledger::new());
    let order = published(&ledger);
    assert_eq!(ledger.claim(&order, 1), Claim::Handle);
    assert_eq!(ledger.claim(&order, 2), Claim::InProgress);
    ledger.release(&order);
    assert_eq!(ledger.claim(&order, 3), Claim::Handle);
    ledger.handled(&order);
    assert_eq!(ledger.claim(&order, 4), Claim::Handled);
    let attempts = 3;
    for _ in 0..2 {
        let order = order.clone();
        ledger.complete(OrderResult { order, attempts });
    }
    assert_eq!(ledger.claim(&order, 5), Claim::Handled);
    let expected = Counts {
        published: 1,
        handled: 1,
        results: 1,
        retried: 4,
        duplicates: 3,
        ..Counts::default()
    };
    assert_eq!(ledger.counts(), expected);
}

#[test]
fn order_without_a_response_counts_when_it_is_delivered() {
    let ledger = Arc::new(Ledger::new());
    let request = ledger.begin(item()).unwrap();
    let order = request.order().clone();
    assert_eq!(ledger.counts().requests, 1);
    drop(request);
    assert_eq!(ledger.counts(), Counts::default());
    assert_eq!(ledger.claim(&order, 1), Claim::Handle);
    assert_eq!(ledger.counts().published, 1);
}

#[test]
fn order_of_an_earlier_process_is_handled_and_not_counted() {
    let (ledger, earlier) = (Arc::new(Ledger::new()), Arc::new(Ledger::new()));
    let order = published(&earlier);
    assert_eq!(ledger.claim(&order, 2), Claim::Handle);
    ledger.handled(&order);
    let attempts = 2;
    ledger.complete(OrderResult { order, attempts });
    assert_eq!(ledger.counts(), Counts::default());
}

#[test]
fn percentiles_are_those_of_the_results() {
    let ledger = Arc::new(Ledger::new());
    let none = serde_json::json!({ "p50": null, "p99": null });
    assert_eq!(serde_json::to_value(ledger.latency()).unwrap(), none);
    let order = published(&ledger);
    let attempts = 1;
    ledger.complete(OrderResult { order, attempts });
    let some = serde_json::to_value(ledger.latency()).unwrap();
    assert!(some["p50"].is_u64() && some["p99"].is_u64(), "{some}");
}

/// Runs `activity` after a pause without a publish or a delivery.
fn assert_restarts_quiet_time(ledger: &Ledger, activity: impl FnOnce()) {
    let pause = QUIET * 2;
    ledger.pass(pause);
    assert!(ledger.quiet_for() >= pause);
    activity();
    let quiet = ledger.quiet_for();
    assert!(quiet < QUIET, "{quiet:?}");
}

#[test]
fn delivery_of_an_earlier_process_restarts_the_quiet_time() {
    let (ledger, earlier) = (Arc::new(Ledger::new()), Arc::new(Ledger::new()));
    let order = published(&earlier);
    assert_restarts_quiet_time(&ledger, || {
        ledger.claim(&order, 1);
    });
    let attempts = 1;
    assert_restarts_quiet_time(&ledger, || {
        ledger.complete(OrderResult { order, attempts });
    });
}

#[test]
fn publish_after_a_pause_restarts_the_quiet_time() {
    let ledger = Arc::new(Ledger::new());
    assert_restarts_quiet_time(&ledger, || {
        published(&ledger);
    });
}

#[test]
fn abandoned_orders_make_room_at_the_limit() {
    let ledger = Arc::new(Ledger::new());
    let stored = published(&ledger);
    let in_progress = ledger.begin(item()).unwrap();
    // As for a client that disconnects, or an ambiguous outcome.
    let abandoned = ledger.begin(item()).unwrap().order().clone();
    for _ in 3..MAX_OPEN {
        drop(ledger.begin(item()).unwrap());
    }
    assert!(ledger.begin(item()).is_none(), "nsqd may deliver them soon");
    ledger.pass(ABANDONED_AFTER);
    drop(ledger.begin(item()).expect("room for another order"));
    for _ in 3..MAX_OPEN {
        drop(ledger.begin(item()).unwrap());
    }
    assert!(ledger.begin(item()).is_none(), "two old orders are kept");
    in_progress.published();
    assert_eq!(ledger.counts().published, 2);
    assert_eq!(ledger.claim(&stored, 1), Claim::Handle);
    assert_eq!(ledger.claim(&abandoned, 1), Claim::Handled);
}
