//! The ledger recognizes every repeated delivery.

use std::sync::Arc;

use crate::{
    ledger::{Claim, Counts, Ledger},
    order::{Item, Order, OrderResult},
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
