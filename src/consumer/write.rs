//! What is written about a message.

use super::stats::Counters;
use crate::protocol::{Command, MessageId, Outbox, put_finish};

/// A command about a message that is to be written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Write {
    Finish {
        /// The message has expired, and was counted then; or an earlier answer was too late.
        is_late: bool,
    },
    Requeue {
        delay_ms: u64,
        reason: RequeueReason,
    },
    Touch,
}

/// Why a message is requeued.
#[derive(Debug, Clone, Copy)]
pub(super) enum RequeueReason {
    Handler,
    Dropped,
    HandlerTimeout,
    /// No handler had answered it: it is returned.
    Returned,
}

impl Write {
    #[inline(always)]
    pub(super) fn encode(self, id: MessageId, out: &mut Outbox) {
        match self {
            Self::Finish { .. } => put_finish(&id, out),
            Self::Requeue { delay_ms, .. } => Command::Requeue { id, delay_ms }.encode(out),
            Self::Touch => Command::Touch(id).encode(out),
        }
    }

    /// Counts it as written. Only then is it known that it will not be counted as unwritten.
    #[inline(always)]
    pub(super) fn count(self, counters: &mut Counters) {
        match self {
            Self::Finish { is_late } => counters.finished += u64::from(!is_late),
            Self::Requeue { reason, .. } => reason.count(counters),
            Self::Touch => counters.touched += 1,
        }
    }

    pub(super) fn is_answer(self) -> bool {
        !matches!(self, Self::Touch)
    }

    /// Whether the message counts as unwritten if it cannot be written.
    pub(super) fn is_outcome(self) -> bool {
        !matches!(self, Self::Touch | Self::Finish { is_late: true })
    }
}

impl RequeueReason {
    fn count(self, counters: &mut Counters) {
        match self {
            Self::Handler => {}
            Self::Dropped => counters.dropped += 1,
            Self::HandlerTimeout => counters.handler_timeouts += 1,
            Self::Returned => {
                counters.returned += 1;
                return;
            }
        }
        counters.requeued += 1;
    }
}
