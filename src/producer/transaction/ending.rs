//! How a connection ends: by a refusal or without one, and what that means for the publishes in flight on it.

use std::{collections::VecDeque, mem};

use super::{
    TransactionQueue,
    ledger::Load,
    slot::{Reply, Slot},
};
use crate::{
    error::{Cause, Delivery, PublishError},
    protocol::{ErrorCode, ServerError},
};

/// How a connection ended, for the publishes that were in flight on it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending<'a> {
    /// By an error frame: nsqd executes nothing behind the command that it refused.
    Refused,
    /// Without one. `taken` is the final count of bytes that its socket took.
    Lost { taken: u64, cause: &'a Cause },
}

/// What the end of a connection meant for the publishes in flight on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Settlement {
    /// Certainly not executed: they are handed over again. With `retry_maybe_written` also those that may be stored.
    pub(crate) resent: usize,
    /// Perhaps stored.
    pub(crate) unknown: usize,
}

impl<R: Reply> TransactionQueue<R> {
    /// nsqd's error frame for the oldest command. It is the connection's last word: [`end`](Self::end) must follow.
    ///
    /// # Errors
    ///
    /// What is out of step: an error for no command answers nothing.
    pub(crate) fn refused(&mut self, refusal: &ServerError) -> Result<(), &'static str> {
        let Some(window) = self.flight.front().copied() else {
            return Err("an error while no command is in flight");
        };
        if window.load.publishes == 0 {
            self.flight.pop_front();
            let cause = Cause::Refused(refusal.clone());
            let error = PublishError::new(cause, Delivery::NotWritten);
            self.pings.answer_oldest(Err(error));
            return Ok(());
        }
        self.offender = Some(window.lane);
        // The upload was too slow for nsqd, which is not the fault of the message, and nothing is stored:
        // it stays in its place and is handed over again.
        if refusal.is_slow_upload() {
            return Ok(());
        }
        if refusal.named_limit().is_some() {
            self.named.retain(|named| named.code() != refusal.code());
            self.named.push(refusal.clone());
        }
        let Some(lane) = self.lanes.get_mut(window.lane) else {
            return Ok(());
        };
        use ErrorCode::{BadTopic, DpubFailed, MpubFailed, PubFailed, Unauthorized, Unknown};
        let code = refusal.code();
        // A full disk refuses the next ones too, and of a batch it may store a part.
        if matches!(code, PubFailed | MpubFailed | DpubFailed) {
            (self.careful, lane.careful) = (true, true);
        }
        // E_MPUB_FAILED can come after a part of the batch was stored, and what an unknown code means is unknown.
        let sure = !matches!(code, MpubFailed | Unknown);
        // Whatever else was accepted for the topic would cost a connection each.
        let on_topic = matches!(code, BadTopic | Unauthorized);
        // Whatever else was accepted at all would.
        let on_all = refusal.is_tls_required();
        if window.load.publishes > 1 && sure && !on_topic && !on_all {
            // Nothing of the batch is stored: its members are sent again one by one, and only the guilty one fails.
            let members = lane.slots.iter_mut().take(window.load.publishes);
            members.for_each(|slot| slot.alone = true);
            return Ok(());
        }
        let topic = lane.slots.front().map(|slot| slot.topic.clone());
        let error = |slot: &Slot<R>| {
            let delivery = if sure {
                slot.not_written()
            } else {
                slot.maybe()
            };
            PublishError::new(Cause::Refused(refusal.clone()), delivery)
        };
        self.answer_oldest(|slot| Err(error(slot)));
        if on_topic || on_all {
            self.sweep(|slot, _| {
                let concerned = on_all || Some(&slot.topic) == topic.as_ref();
                concerned.then(|| error(slot))
            });
        }
        Ok(())
    }

    /// Settles, once, what is in flight on a connection that can write no more.
    pub(crate) fn end(&mut self, ending: Ending<'_>) -> Settlement {
        let mut settlement = Settlement::default();
        let (taken, cause) = match ending {
            Ending::Refused => (0, None),
            Ending::Lost { taken, cause } => {
                self.forget_limits();
                (taken, Some(cause).filter(|_| !self.retry_maybe_written))
            }
        };
        // Back from the front of the lanes, the youngest command first.
        let mut lanes = VecDeque::new();
        for window in mem::take(&mut self.flight).into_iter().rev() {
            let Some(lane) = self.lanes.get_mut(window.lane) else {
                continue;
            };
            let publishes = window.load.publishes;
            if publishes == 0 {
                // A ping is in no lane.
                continue;
            }
            lane.sent = lane.sent.saturating_sub(publishes);
            let delivered = window.end <= taken;
            let members = lane.slots.iter_mut().skip(lane.sent).take(publishes);
            for slot in members.filter(|slot| slot.reply.is_some()) {
                slot.unknown |= delivered;
                settlement.unknown += usize::from(delivered);
                settlement.resent += usize::from(!delivered || self.retry_maybe_written);
            }
            lanes.push_front(window.lane);
        }
        self.flying = Load::default();
        self.pings.rewind();
        // Empty places have no command left to wait for; what is unanswered stands where it stood.
        self.sweep(|slot, _| {
            let cause = cause.filter(|_| slot.unknown)?;
            Some(PublishError::new(cause.clone(), slot.maybe()))
        });
        self.lanes.line_up(lanes, self.offender.take());
        settlement
    }
}
