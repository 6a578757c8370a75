//! Whether publishes are combined into one MPUB.

use super::{limits::Batch, server_limits::ServerLimits};

/// The state of automatic batching.
#[derive(Debug)]
pub(super) struct Batching {
    /// `None`: batching is turned off.
    limits: Option<Batch>,
    /// nsqd failed to store a publish, and has not answered one with `OK` since: of a batch it may
    /// store a part.
    suspended: bool,
}

impl Batching {
    pub(super) fn new(limits: Option<Batch>) -> Self {
        Self {
            limits,
            suspended: false,
        }
    }

    pub(super) fn suspend(&mut self) {
        self.suspended = true;
    }

    pub(super) fn resume(&mut self) {
        self.suspended = false;
    }

    /// Returns the limits of the next batch of a topic; `None` if it is one publish.
    pub(super) fn limits(
        &self,
        topic_suspended: bool,
        server_limits: &ServerLimits,
    ) -> Option<Batch> {
        let Batch { messages, bytes } = self
            .limits
            .filter(|_| !self.suspended && !topic_suspended)?;
        let known = server_limits.batch_bytes();
        Some(Batch {
            messages,
            bytes: known.map_or(bytes, |known| known.min(bytes)),
        })
    }
}
