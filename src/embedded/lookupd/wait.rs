//! Waiting for registrations and queries, up to a limit.

use std::time::Duration;

use super::handle::EmbeddedLookupd;
use crate::embedded::waiting::{self, WaitTimeout};

/// Waiting. These futures run on any async runtime, also if its clock is paused, and may be dropped
/// at any time.
///
/// ```
/// # use actix_nsq::embedded::{EmbeddedLookupd, WaitTimeout};
/// use std::time::Duration;
///
/// # async fn example(lookupd: &EmbeddedLookupd) -> Result<(), WaitTimeout> {
/// lookupd.wait_for_producers("orders", 3, Duration::from_secs(5)).await?;
/// # Ok(())
/// # }
/// ```
impl EmbeddedLookupd {
    /// Waits until `/lookup` lists exactly `n` nodes for a topic.
    ///
    /// # Errors
    ///
    /// [`WaitTimeout`] if that takes longer than `limit`.
    pub async fn wait_for_producers(
        &self,
        topic: &str,
        n: usize,
        limit: Duration,
    ) -> Result<(), WaitTimeout> {
        let listed = || self.producers(topic).map_or(0, |nodes| nodes.len());
        self.reaches(
            limit,
            || listed() == n,
            || {
                (
                    format!("{n} nodes with topic {topic:?}"),
                    listed().to_string(),
                )
            },
        )
        .await
    }

    /// Waits until `/nodes` lists exactly `n` nodes.
    ///
    /// # Errors
    ///
    /// [`WaitTimeout`] if that takes longer than `limit`.
    pub async fn wait_for_nodes(&self, n: usize, limit: Duration) -> Result<(), WaitTimeout> {
        let listed = || self.nodes().len();
        self.reaches(
            limit,
            || listed() == n,
            || (format!("{n} nodes"), listed().to_string()),
        )
        .await
    }

    /// Waits until at least `n` HTTP requests with this path have been received.
    ///
    /// # Errors
    ///
    /// [`WaitTimeout`] if that takes longer than `limit`.
    pub async fn wait_for_queries(
        &self,
        path: &str,
        n: u64,
        limit: Duration,
    ) -> Result<(), WaitTimeout> {
        let count = || self.query_count(path);
        self.reaches(
            limit,
            || count() >= n,
            || (format!("{n} queries of {path}"), count().to_string()),
        )
        .await
    }

    /// Waits until the condition holds. It is checked now, and after every change: a request or a
    /// command was received, a connection opened or closed, a registration changed. The end of a
    /// tombstone and of an nsqd that sends no PING is no change, but is seen at the limit.
    ///
    /// # Errors
    ///
    /// [`WaitTimeout`] if that takes longer than `limit`.
    pub async fn wait_until(
        &self,
        limit: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Result<(), WaitTimeout> {
        self.reaches(
            limit,
            || condition(self),
            || ("the condition".into(), String::new()),
        )
        .await
    }

    /// `report` returns what was expected and what is there instead.
    async fn reaches(
        &self,
        limit: Duration,
        condition: impl FnMut() -> bool,
        report: impl FnOnce() -> (String, String),
    ) -> Result<(), WaitTimeout> {
        let notify_at = |deadline| self.notify_at(deadline);
        if waiting::reaches(&self.shared.changes, notify_at, limit, condition).await {
            return Ok(());
        }
        let (expected, found) = report();
        Err(WaitTimeout {
            limit,
            expected,
            found,
        })
    }
}
