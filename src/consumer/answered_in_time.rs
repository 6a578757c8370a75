//! Answers that are reported together.

use std::time::Instant;

use super::{
    connection_key::ConnectionKey,
    flow::Flow,
    in_flight::{Answered, InFlight, Start},
};
use crate::metrics::Latency;

/// Answers to unexpired messages of one connection that were started together. They are reported to
/// flow control in one step, and so is how long handlers took.
#[derive(Debug, Default)]
pub(super) struct AnsweredInTime {
    of: Option<Group>,
    count: u32,
    /// How long handlers took until their answers.
    pub(super) handling: Latency,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Group {
    key: ConnectionKey,
    is_late: bool,
    /// `None`: no handler had them.
    start: Option<Start>,
}

impl AnsweredInTime {
    /// Adds an answer; reports those before it that are of another kind.
    #[inline(always)]
    pub(super) fn add(
        &mut self,
        answered: &Answered,
        is_handled: bool,
        flow: &mut Flow,
        in_flight: &InFlight,
        now: Instant,
    ) {
        let group = Some(Group {
            key: answered.key,
            is_late: answered.is_late,
            start: is_handled.then_some(answered.start),
        });
        if self.of != group {
            self.report(flow, in_flight, now);
            self.of = group;
        }
        self.count += 1;
    }

    #[inline(never)]
    pub(super) fn report(&mut self, flow: &mut Flow, in_flight: &InFlight, now: Instant) {
        let count = std::mem::take(&mut self.count);
        if let Some(Group {
            key,
            is_late,
            start,
        }) = self.of.take()
        {
            flow.answered(key, count, is_late, now);
            if let Some(start) = start {
                let time = in_flight.time_since(start, now);
                self.handling.record(time, count.into());
            }
        }
    }
}
