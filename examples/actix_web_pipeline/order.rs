//! The two kinds of messages: an order, and its result.

use serde::{Deserialize, Serialize};

/// Topic of [`Order`]s, and the channel of the consumer that handles them.
pub(crate) const ORDERS: (&str, &str) = ("orders", "workers");

/// Topic of [`OrderResult`]s, and the channel of the consumer that collects them.
pub(crate) const RESULTS: (&str, &str) = ("results", "page");

/// Maximum number of bytes of the name of an item: it is shown in one line.
const MAX_ITEM: usize = 60;

/// Maximum number of pieces in an order, so that a mistyped number is noticed.
const MAX_QUANTITY: u32 = 1_000;

/// The body of `POST /orders`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) item: String,
    pub(crate) quantity: u32,
}

/// An order in the topic `orders`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Identifies the process that accepted it: a real nsqd may hold orders of an earlier one.
    pub(crate) run: u64,
    /// Number of the order within the run. Deliveries of the same message are recognized by it.
    pub(crate) id: u64,
    #[serde(flatten)]
    pub(crate) item: Item,
}

/// The result of an order in the topic `results`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderResult {
    #[serde(flatten)]
    pub(crate) order: Order,
    /// Number of deliveries that the order needed.
    pub(crate) attempts: u16,
}

impl Item {
    /// Returns what is wrong with the order, if anything is.
    pub(crate) fn problem(&self) -> Option<String> {
        let Self { item, quantity } = self;
        if item.trim().is_empty() || item.len() > MAX_ITEM {
            let bytes = item.len();
            return Some(format!(
                "item of {bytes} bytes: give 1 to {MAX_ITEM} bytes, not only spaces"
            ));
        }
        if !(1..=MAX_QUANTITY).contains(quantity) {
            return Some(format!(
                "quantity {quantity} is not between 1 and {MAX_QUANTITY}"
            ));
        }
        None
    }
}
