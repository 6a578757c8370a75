//! The results of the records that were sent to a producer.

use futures::{
    StreamExt,
    future::LocalBoxFuture,
    stream::{FuturesOrdered, FuturesUnordered},
};

use crate::record::Failure;

/// A record that will have a result: its number.
type Pending = LocalBoxFuture<'static, (u64, Result<(), Failure>)>;

/// Results, with the numbers of their records.
pub(crate) enum Results {
    /// In the order of the records: of one nsqd, which stores them in this order.
    InOrder(FuturesOrdered<Pending>),
    /// As they come: of a pool, in which a slow nsqd delays no other.
    AsTheyCome(FuturesUnordered<Pending>),
}

impl Results {
    pub(crate) fn in_order() -> Self {
        Self::InOrder(FuturesOrdered::new())
    }

    pub(crate) fn as_they_come() -> Self {
        Self::AsTheyCome(FuturesUnordered::new())
    }

    pub(crate) fn push(&mut self, result: Pending) {
        match self {
            Self::InOrder(results) => results.push_back(result),
            Self::AsTheyCome(results) => results.push(result),
        }
    }

    /// Returns the next result; `None` if all records have one.
    pub(crate) async fn next(&mut self) -> Option<(u64, Result<(), Failure>)> {
        match self {
            Self::InOrder(results) => results.next().await,
            Self::AsTheyCome(results) => results.next().await,
        }
    }
}
