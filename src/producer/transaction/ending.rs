//! How a connection ends: by a refusal or without one, and what that means for the publishes in flight on it.

use super::{
    TransactionQueue, Window,
    ledger::Load,
    slot::{Reply, Slot},
};
use crate::{
    error::{Cause, Delivery, Error},
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
    /// Certainly not executed: they are handed over again. With `retry_unknown` also those that may be stored.
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
        match self.flight.front() {
            None => return Err("an error while no command is in flight"),
            Some(Window { members: 0, .. }) => {
                self.flight.pop_front();
                let cause = Cause::Refused(refusal.clone());
                self.pings
                    .answer_oldest(Err(Error::new(cause, Delivery::NotWritten)));
                return Ok(());
            }
            Some(_) => {}
        }
        // The upload was too slow for nsqd, which is not the fault of the message, and nothing is stored:
        // it stays in its place and is handed over again.
        if refusal.is_slow_upload() {
            return Ok(());
        }
        if refusal.named_limit().is_some() {
            self.named.retain(|named| named.code() != refusal.code());
            self.named.push(refusal.clone());
        }
        // E_MPUB_FAILED can come after a part of the batch was stored, and what an unknown code means is unknown.
        let sure = !matches!(refusal.code(), ErrorCode::MpubFailed | ErrorCode::Unknown);
        let error = |slot: &Slot<R>| {
            let delivery = if sure {
                slot.not_written()
            } else {
                slot.maybe()
            };
            Error::new(Cause::Refused(refusal.clone()), delivery)
        };
        let topic = self.slots.front().map(|slot| slot.topic.clone());
        self.answer_oldest(|slot| Err(error(slot)));
        // A verdict on the topic: whatever else was accepted for it would cost a connection each.
        if matches!(
            refusal.code(),
            ErrorCode::BadTopic | ErrorCode::Unauthorized
        ) {
            self.sweep(|slot, _| (Some(&slot.topic) == topic.as_ref()).then(|| error(slot)));
        }
        Ok(())
    }

    /// Settles, once, what is in flight on a connection that can write no more.
    pub(crate) fn end(&mut self, ending: Ending<'_>) -> Settlement {
        let mut settlement = Settlement::default();
        if let Ending::Lost { taken, cause } = ending {
            self.forget_limits();
            let whole = |window: &&Window| window.end <= taken;
            let delivered = self
                .flight
                .iter()
                .take_while(whole)
                .map(|window| window.members)
                .sum();
            for slot in self.slots.iter_mut().take(delivered) {
                settlement.unknown += usize::from(slot.reply.is_some());
                slot.unknown = true;
                if !self.retry_unknown {
                    let error = Error::new(cause.clone(), slot.maybe());
                    self.ledger.answer(slot, Err(error));
                }
            }
        }
        let again = self.slots.iter().take(self.sent);
        settlement.resent = again.filter(|slot| slot.reply.is_some()).count();
        self.flight.clear();
        self.flying = Load::default();
        self.pings.rewind();
        self.sent = 0;
        // Empty places have no command left to wait for; what is unanswered stands where it stood.
        self.sweep(|_, _| None);
        settlement
    }

    /// Lets go of what is not handed over and whose caller is gone; the room goes to those who wait for it.
    pub(crate) fn forget_gone(&mut self) {
        self.sweep(|slot, in_flight| {
            let gone = !in_flight && slot.reply.as_ref().is_some_and(Reply::is_closed);
            gone.then(|| Error::new(Cause::Closed, slot.not_written()))
        });
        self.line.purge();
        self.admit();
    }
}
