//! Answers that are reported to flow control together.

use std::time::Instant;

use super::{connection_key::ConnectionKey, flow::Flow, in_flight::Answered};

/// Answers to unexpired messages of one connection, which are reported to flow control in one step.
#[derive(Debug, Default)]
pub(super) struct AnsweredInTime {
    of: Option<ConnectionKey>,
    is_late: bool,
    count: u32,
}

impl AnsweredInTime {
    /// Adds an answer; reports those before it that are of another kind.
    pub(super) fn add(&mut self, answered: &Answered, flow: &mut Flow, now: Instant) {
        let Answered { key, is_late, .. } = *answered;
        if self.of != Some(key) || self.is_late != is_late {
            self.report(flow, now);
            (self.of, self.is_late) = (Some(key), is_late);
        }
        self.count += 1;
    }

    pub(super) fn report(&mut self, flow: &mut Flow, now: Instant) {
        let count = std::mem::take(&mut self.count);
        if let Some(key) = self.of
            && count > 0
        {
            flow.answered(key, count, self.is_late, now);
        }
    }
}
