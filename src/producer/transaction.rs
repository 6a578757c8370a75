//! The transaction queue: every publish from its acceptance to its answer. Pure: time and counts come in as arguments.
//!
//! It is the one place that bounds memory and the one place that answers. A publish never moves: it is pushed at the
//! back and leaves when its fate is known. A command in flight is a [`Window`] over the front of the queue:
//!
//! ```text
//!   front                                              back
//!   | publish | publish | publish | publish | publish | ...
//!   '---- window ----'  '-window-'  '--- not handed over
//!   '------- sent --------------'
//! ```
//!
//! An answer takes the oldest window and answers the publishes under it. A lost connection takes the windows away;
//! what nsqd did not execute still stands in its place, in order, and is handed over again. A publish that timed out
//! after it was handed over leaves an empty place, so that no answer is ever shifted.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::payload::Payload;
use crate::{
    error::{Cause, ConnectionError, Delivery, Error},
    protocol::{ErrorCode, Outbox, ServerError, Topic},
};

/// Who waits for the answer to a publish.
pub(crate) trait Reply {
    /// Whether nobody waits any more.
    fn is_closed(&self) -> bool;
    fn answer(self, answer: Result<(), Error>);
}

/// A publish as it is accepted.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) topic: Topic,
    pub(crate) payload: Payload,
    /// Time from acceptance to the answer.
    pub(crate) timeout: Duration,
}

struct Slot<R> {
    topic: Topic,
    payload: Payload,
    size: usize,
    timeout: Duration,
    deadline: Instant,
    /// `None`: answered already, an empty place until its command is answered.
    reply: Option<R>,
    /// An earlier connection may have delivered it.
    unknown: bool,
}

impl<R> Slot<R> {
    /// What to say of it if nsqd may have executed its command.
    fn maybe(&self) -> Delivery {
        match self.payload {
            Payload::Batch(_) => Delivery::MaybePartly,
            _ => Delivery::MaybeWritten,
        }
    }

    /// What to say of it if the latest connection certainly did not execute its command.
    fn not_written(&self) -> Delivery {
        if self.unknown {
            self.maybe()
        } else {
            Delivery::NotWritten
        }
    }
}

/// A command in flight: how many publishes of the front it carries, and where its last byte is in the connection's
/// stream of commands.
#[derive(Debug, Clone, Copy)]
struct Window {
    members: usize,
    bytes: usize,
    end: u64,
}

/// A number of publishes and the bytes of their bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) publishes: usize,
    pub(crate) bytes: usize,
}

impl Load {
    fn add(&mut self, publishes: usize, bytes: usize) {
        self.publishes = self.publishes.saturating_add(publishes);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn remove(&mut self, publishes: usize, bytes: usize) {
        self.publishes = self.publishes.saturating_sub(publishes);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// What the queue may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Accepted and not answered.
    pub(crate) pending: Load,
    /// Handed over and not answered.
    pub(crate) window: Load,
    /// Whether what may be stored is handed over again after a lost connection.
    pub(crate) retry_unknown: bool,
}

/// How many publishes were answered how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) ok: u64,
    pub(crate) not_written: u64,
    pub(crate) maybe_written: u64,
    pub(crate) maybe_partly: u64,
}

/// How a connection ended, for the publishes that were in flight on it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending<'a> {
    /// By an error frame: nsqd executes nothing behind the command that it refused.
    Refused,
    /// Without one. `taken` is the final count of bytes that its socket took.
    Lost { taken: u64, cause: &'a Cause },
}

/// The publishes outstanding. When it is dropped, it answers what it holds.
pub(crate) struct TransactionQueue<R: Reply> {
    limits: Limits,
    slots: VecDeque<Slot<R>>,
    /// So many slots of the front are in flight.
    sent: usize,
    flight: VecDeque<Window>,
    held: Load,
    flying: Load,
    /// Slots that have no answer yet.
    unanswered: usize,
    /// No dead-line is earlier than this.
    due: Option<Instant>,
    /// Refusals in which nsqd named a limit of its own: what exceeds it is refused here, not by a lost connection.
    named: Vec<ServerError>,
    tally: Tally,
}

impl<R: Reply> TransactionQueue<R> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            slots: VecDeque::new(),
            sent: 0,
            flight: VecDeque::new(),
            held: Load::default(),
            flying: Load::default(),
            unanswered: 0,
            due: None,
            named: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Whether every publish is answered.
    pub(crate) fn is_empty(&self) -> bool {
        self.unanswered == 0
    }

    /// Whether commands are in flight.
    pub(crate) fn in_flight(&self) -> bool {
        !self.flight.is_empty()
    }

    /// Where the last byte of the oldest command in flight is.
    pub(crate) fn oldest_end(&self) -> Option<u64> {
        self.flight.front().map(|window| window.end)
    }

    /// The time before which no dead-line passes.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Accepts a publish, or answers it at once where there is no room.
    pub(crate) fn push(&mut self, transaction: Transaction, now: Instant, reply: R) {
        let Transaction {
            topic,
            payload,
            timeout,
        } = transaction;
        let size = payload.size();
        let refused = self.full(size);
        // A time too far to be told is no dead-line that anyone could see pass.
        let deadline = now
            .checked_add(timeout)
            .unwrap_or(now + Duration::from_secs(1 << 30));
        let mut slot = Slot {
            topic,
            payload,
            size,
            timeout,
            deadline,
            reply: Some(reply),
            unknown: false,
        };
        self.unanswered += 1;
        if let Some(cause) = refused {
            self.answer(&mut slot, Err(Error::new(cause, Delivery::NotWritten)));
            return;
        }
        self.held.add(1, size);
        self.due = Some(self.due.map_or(deadline, |due| due.min(deadline)));
        self.slots.push_back(slot);
    }

    fn full(&self, size: usize) -> Option<Cause> {
        let limit = self.limits.pending;
        if self.held.publishes >= limit.publishes {
            let held = self.held.publishes;
            return Some(Cause::Full {
                option: "max_pending",
                unit: "publishes",
                held,
                size: 1,
                limit: limit.publishes,
            });
        }
        if self.held.bytes.saturating_add(size) > limit.bytes {
            let (option, held) = ("max_pending_bytes", self.held.bytes);
            return Some(Cause::Full {
                option,
                unit: "bytes",
                held,
                size,
                limit: limit.bytes,
            });
        }
        None
    }

    /// Encodes the next command into `out`, if one waits and the window has room for it.
    ///
    /// `out` must be the connection's only one: a command is known by where its last byte is in all that went through.
    pub(crate) fn next_command(&mut self, out: &mut Outbox) -> bool {
        let Some(mut slot) = self.slots.get(self.sent) else {
            return false;
        };
        if self.verdict(slot).is_some() {
            self.purge();
            let Some(next) = self.slots.get(self.sent) else {
                return false;
            };
            slot = next;
        }
        let window = self.limits.window;
        let room = self.flying.publishes < window.publishes
            && self.flying.bytes.saturating_add(slot.size) <= window.bytes;
        if !room && self.in_flight() {
            return false;
        }
        slot.payload.encode(&slot.topic, out);
        self.flight.push_back(Window {
            members: 1,
            bytes: slot.size,
            end: out.total(),
        });
        self.flying.add(1, slot.size);
        self.sent += 1;
        true
    }

    /// Why a publish is not to be handed over, if it is not: its caller is gone, or nsqd is known to refuse it.
    fn verdict(&self, slot: &Slot<R>) -> Option<Cause> {
        if slot.reply.as_ref().is_none_or(Reply::is_closed) {
            return Some(Cause::Closed);
        }
        let refusal = self
            .named
            .iter()
            .find(|refusal| slot.payload.exceeds(refusal))?;
        Some(Cause::Refused(refusal.clone()))
    }

    /// Answers, in one pass, all that is not to be handed over.
    fn purge(&mut self) {
        let mut slots = std::mem::take(&mut self.slots);
        let mut place = 0;
        slots.retain_mut(|slot| {
            place += 1;
            let verdict = if place > self.sent {
                self.verdict(slot)
            } else {
                None
            };
            if let Some(cause) = &verdict {
                let answer = Err(Error::new(cause.clone(), slot.not_written()));
                self.held.remove(1, slot.size);
                self.answer(slot, answer);
            }
            verdict.is_none()
        });
        self.slots = slots;
    }

    /// nsqd's `OK` for the oldest command. `taken` is how many bytes the socket has taken.
    ///
    /// # Errors
    ///
    /// What is out of step: an `OK` for no command, or for one that is not wholly sent, answers nothing.
    pub(crate) fn ok(&mut self, taken: u64) -> Result<(), &'static str> {
        match self.flight.front() {
            None => Err("OK while no command is in flight"),
            Some(window) if window.end > taken => Err("OK for a command that is not wholly sent"),
            Some(_) => {
                self.answer_oldest(|_| Ok(()));
                Ok(())
            }
        }
    }

    /// nsqd's error frame for the oldest command. It is the connection's last word: [`end`](Self::end) must follow.
    ///
    /// # Errors
    ///
    /// What is out of step: an error for no command answers nothing.
    pub(crate) fn refused(&mut self, refusal: &ServerError) -> Result<(), &'static str> {
        if self.flight.is_empty() {
            return Err("an error while no command is in flight");
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
        let answer = |slot: &Slot<R>| {
            let delivery = if sure {
                slot.not_written()
            } else {
                slot.maybe()
            };
            Err(Error::new(Cause::Refused(refusal.clone()), delivery))
        };
        let topic = self.slots.front().map(|slot| slot.topic.clone());
        self.answer_oldest(answer);
        if matches!(
            refusal.code(),
            ErrorCode::BadTopic | ErrorCode::Unauthorized
        ) {
            self.sweep(|slot| (Some(&slot.topic) == topic.as_ref()).then(|| answer(slot)));
        }
        Ok(())
    }

    /// Settles, once, what is in flight on a connection that can write no more.
    pub(crate) fn end(&mut self, ending: Ending<'_>) {
        if let Ending::Lost { taken, cause } = ending {
            // The next nsqd may be another one, with other limits.
            self.named.clear();
            let whole = |window: &&Window| window.end <= taken;
            let delivered = self
                .flight
                .iter()
                .take_while(whole)
                .map(|window| window.members)
                .sum();
            for slot in self.slots.iter_mut().take(delivered) {
                slot.unknown = true;
                if !self.limits.retry_unknown {
                    let error = Error::new(cause.clone(), slot.maybe());
                    Self::answer_with(&mut self.tally, &mut self.unanswered, slot, Err(error));
                }
            }
        }
        self.flight.clear();
        self.flying = Load::default();
        // Answered ones are not handed over again; the others stand where they stood.
        let mut place = 0;
        let (sent, held) = (std::mem::take(&mut self.sent), &mut self.held);
        self.slots.retain(|slot| {
            let keep = place >= sent || slot.reply.is_some();
            place += 1;
            if !keep {
                held.remove(1, slot.size);
            }
            keep
        });
    }

    /// Answers every publish whose dead-line has come. `last` is why there is no connection, if there is none.
    pub(crate) fn expire(&mut self, now: Instant, last: Option<&ConnectionError>) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let sent = self.sent;
        let mut place = 0;
        self.sweep(|slot| {
            place += 1;
            let after = slot.timeout;
            let (cause, delivery) = if place <= sent {
                (Cause::Unanswered { after }, slot.maybe())
            } else {
                (
                    Cause::Unsent {
                        after,
                        last: last.cloned(),
                    },
                    slot.not_written(),
                )
            };
            (slot.deadline <= now).then(|| Err(Error::new(cause, delivery)))
        });
        self.due = self
            .slots
            .iter()
            .filter(|slot| slot.reply.is_some())
            .map(|slot| slot.deadline)
            .min();
    }

    /// Answers everything with `cause`. What was handed over and not settled may be written.
    pub(crate) fn fail_all(&mut self, cause: &Cause) {
        let sent = self.sent;
        let mut place = 0;
        self.sweep(|slot| {
            place += 1;
            let delivery = if place <= sent {
                slot.maybe()
            } else {
                slot.not_written()
            };
            Some(Err(Error::new(cause.clone(), delivery)))
        });
        self.due = None;
    }

    /// Answers each slot for which `verdict` has an answer. One in flight leaves an empty place, another one leaves.
    fn sweep(&mut self, mut verdict: impl FnMut(&Slot<R>) -> Option<Result<(), Error>>) {
        let Self {
            slots,
            sent,
            held,
            unanswered,
            tally,
            ..
        } = self;
        let mut place = 0;
        slots.retain_mut(|slot| {
            place += 1;
            if let Some(answer) = verdict(slot) {
                Self::answer_with(tally, unanswered, slot, answer);
            }
            let keep = place <= *sent || slot.reply.is_some();
            if !keep {
                held.remove(1, slot.size);
            }
            keep
        });
    }

    fn answer_oldest(&mut self, answer: impl Fn(&Slot<R>) -> Result<(), Error>) {
        let Some(window) = self.flight.pop_front() else {
            return;
        };
        self.flying.remove(window.members, window.bytes);
        self.sent = self.sent.saturating_sub(window.members);
        for _ in 0..window.members {
            if let Some(slot) = self.slots.front() {
                let answer = answer(slot);
                self.remove(0, answer);
            }
        }
    }

    fn remove(&mut self, place: usize, answer: Result<(), Error>) {
        if let Some(mut slot) = self.slots.remove(place) {
            self.held.remove(1, slot.size);
            self.answer(&mut slot, answer);
        }
    }

    fn answer(&mut self, slot: &mut Slot<R>, answer: Result<(), Error>) {
        Self::answer_with(&mut self.tally, &mut self.unanswered, slot, answer);
    }

    /// The one place that answers: at most once for each slot.
    fn answer_with(
        tally: &mut Tally,
        unanswered: &mut usize,
        slot: &mut Slot<R>,
        answer: Result<(), Error>,
    ) {
        let Some(reply) = slot.reply.take() else {
            return;
        };
        *unanswered = unanswered.saturating_sub(1);
        match answer.as_ref().map_err(Error::delivery) {
            Ok(()) => tally.ok += 1,
            Err(Delivery::NotWritten) => tally.not_written += 1,
            Err(Delivery::MaybeWritten) => tally.maybe_written += 1,
            Err(Delivery::MaybePartly) => tally.maybe_partly += 1,
        }
        reply.answer(answer);
    }
}

/// The last answer: an actor that is dropped, whatever the reason, leaves nobody waiting.
impl<R: Reply> Drop for TransactionQueue<R> {
    fn drop(&mut self) {
        self.fail_all(&Cause::Closed);
    }
}

#[cfg(test)]
mod tests;
