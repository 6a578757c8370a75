//! Waiting for messages, connections and commands, up to a limit.

use std::time::Duration;

use super::{
    handle::EmbeddedNsqd,
    inspect::StoredMessage,
    state::{Connection, State},
    waiting::{self, WaitTimeout},
};

/// Waiting. These futures run on any async runtime, also if its clock is paused, and may be dropped
/// at any time.
///
/// ```
/// # use actix_nsq::embedded::{EmbeddedNsqd, WaitTimeout};
/// use std::time::Duration;
///
/// # async fn example(nsqd: &EmbeddedNsqd) -> Result<(), WaitTimeout> {
/// let stored = nsqd.wait_for_messages("orders", 3, Duration::from_secs(5)).await?;
/// assert_eq!(stored[2].body, "the third order");
/// # Ok(())
/// # }
/// ```
impl EmbeddedNsqd {
    /// Waits until a topic has at least `n` messages, and returns all its messages.
    ///
    /// # Errors
    ///
    /// [`WaitTimeout`] if that takes longer than `limit`.
    pub async fn wait_for_messages(
        &self,
        topic: &str,
        n: usize,
        limit: Duration,
    ) -> Result<Vec<StoredMessage>, WaitTimeout> {
        let reached = self.reaches(limit, |nsqd| nsqd.message_count(topic) >= n);
        if reached.await {
            return Ok(self.messages(topic));
        }
        Err(WaitTimeout {
            limit,
            expected: format!("{n} messages in topic {topic:?}"),
            found: self.message_count(topic).to_string(),
        })
    }

    /// Waits until exactly `n` open connections have sent the magic.
    ///
    /// # Errors
    ///
    /// [`WaitTimeout`] if that takes longer than `limit`.
    pub async fn wait_for_connections(&self, n: usize, limit: Duration) -> Result<(), WaitTimeout> {
        let reached = self.reaches(limit, |nsqd| served(&nsqd.shared.state()) == n);
        if reached.await {
            return Ok(());
        }
        Err(WaitTimeout {
            limit,
            expected: format!("{n} connections"),
            found: served(&self.shared.state()).to_string(),
        })
    }

    /// Waits until at least `n` commands with this name have been received.
    ///
    /// # Errors
    ///
    /// [`WaitTimeout`] if that takes longer than `limit`.
    pub async fn wait_for_command(
        &self,
        name: &str,
        n: u64,
        limit: Duration,
    ) -> Result<(), WaitTimeout> {
        let reached = self.reaches(limit, |nsqd| nsqd.command_count(name) >= n);
        if reached.await {
            return Ok(());
        }
        Err(WaitTimeout {
            limit,
            expected: format!("{n} commands {name}"),
            found: self.command_count(name).to_string(),
        })
    }

    /// Waits until the condition holds. It is checked now, and after every change: bytes received,
    /// messages delivered or timed out, connections opened or closed, topics or channels changed by
    /// this handle.
    ///
    /// # Errors
    ///
    /// [`WaitTimeout`] if that takes longer than `limit`.
    pub async fn wait_until(
        &self,
        limit: Duration,
        condition: impl FnMut(&Self) -> bool,
    ) -> Result<(), WaitTimeout> {
        if self.reaches(limit, condition).await {
            return Ok(());
        }
        Err(WaitTimeout {
            limit,
            expected: "the condition".into(),
            found: String::new(),
        })
    }

    /// Returns whether the condition came to hold within the limit.
    async fn reaches(&self, limit: Duration, mut condition: impl FnMut(&Self) -> bool) -> bool {
        let notify_at = |deadline| self.notify_at(deadline);
        waiting::reaches(&self.shared.changes, notify_at, limit, || condition(self)).await
    }
}

/// Returns the number of open connections that have sent the magic.
fn served(state: &State) -> usize {
    let is_served = |connection: &&Connection| connection.magic && connection.control.is_some();
    state.connections.values().filter(is_served).count()
}
