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
//!
//! `slot` is one publish and what is known of it; `line` is where publishes wait for room that is not there; `ending` is
//! what the end of a connection means; `ledger` counts what is held and how it was answered.

mod ending;
mod latency;
mod ledger;
mod line;
mod ping;
mod slot;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

pub use self::latency::Latency;
pub(crate) use self::{
    ending::{Ending, Settlement},
    ledger::{Limits, Load, Tally},
    slot::{Reply, Transaction, later},
};
use self::{
    ledger::Ledger,
    line::{Line, Waiting},
    ping::Pings,
    slot::Slot,
};
use crate::{
    error::{Cause, ConnectionError, Delivery, Error},
    protocol::{Command, Outbox, ServerError},
};

/// A command in flight: how many publishes of the front it carries (a ping none), and where its last byte is in the
/// connection's stream of commands.
#[derive(Debug, Clone, Copy)]
struct Window {
    members: usize,
    bytes: usize,
    end: u64,
}

/// The publishes outstanding. When it is dropped, it answers what it holds.
pub(crate) struct TransactionQueue<R: Reply> {
    window: Load,
    retry_unknown: bool,
    slots: VecDeque<Slot<R>>,
    /// So many slots of the front are in flight.
    sent: usize,
    flight: VecDeque<Window>,
    flying: Load,
    pings: Pings<R>,
    line: Line<R>,
    /// No dead-line is earlier than this.
    due: Option<Instant>,
    /// Refusals in which nsqd named a limit of its own: what exceeds it is refused here, not by a lost connection.
    named: Vec<ServerError>,
    ledger: Ledger,
}

impl<R: Reply> TransactionQueue<R> {
    pub(crate) fn new(limits: Limits) -> Self {
        let Limits {
            pending,
            window,
            retry_unknown,
        } = limits;
        Self {
            window,
            retry_unknown,
            slots: VecDeque::new(),
            sent: 0,
            flight: VecDeque::new(),
            flying: Load::default(),
            pings: Pings::new(),
            line: Line::new(),
            due: None,
            named: Vec::new(),
            ledger: Ledger::new(pending),
        }
    }

    /// Whether every publish and every ping is answered.
    pub(crate) fn is_empty(&self) -> bool {
        self.ledger.unanswered == 0 && self.pings.is_empty() && self.line.is_empty()
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
        self.ledger.tally
    }

    pub(crate) fn latency(&self) -> Latency {
        self.ledger.latency.summary()
    }

    /// What waits to be handed over.
    pub(crate) fn waiting(&self) -> Load {
        let (held, flying) = (self.ledger.held, self.flying);
        Load {
            publishes: held.publishes.saturating_sub(flying.publishes),
            bytes: held.bytes.saturating_sub(flying.bytes),
        }
    }

    /// What is handed over and not answered by nsqd.
    pub(crate) fn flying(&self) -> Load {
        self.flying
    }

    /// Accepts a ping. It needs no room, and is sent before any publish that waits.
    pub(crate) fn ping(&mut self, timeout: Duration, now: Instant, reply: R) {
        let deadline = self.pings.push(timeout, now, reply);
        self.expect(deadline);
    }

    fn expect(&mut self, deadline: Instant) {
        self.due = Some(self.due.map_or(deadline, |due| due.min(deadline)));
    }

    /// Accepts a publish, or answers it at once where there is no room. Those who wait for room come first.
    pub(crate) fn push(&mut self, transaction: Transaction, now: Instant, reply: R) {
        self.admit();
        let mut load = self.line.first().unwrap_or_default();
        load.add(1, transaction.payload.size());
        match self.ledger.full(load) {
            None => self.accept(transaction, now, reply),
            Some(full) => {
                let error = Error::new(full, Delivery::NotWritten);
                self.ledger.turn_away(reply, error);
            }
        }
    }

    /// Accepts a publish as soon as there is room for it, and behind all that waits for room already. It is counted
    /// when it is accepted or answered: one whose caller goes away before leaves no trace.
    pub(crate) fn push_patiently(&mut self, transaction: Transaction, now: Instant, reply: R) {
        let waiting = Waiting {
            transaction,
            came: now,
            reply,
        };
        if !self.ledger.may_fit(waiting.load()) {
            // It would hold up the others until its dead-line.
            return self.push(waiting.transaction, now, waiting.reply);
        }
        self.expect(waiting.deadline());
        self.line.push(waiting);
        self.admit();
    }

    /// Accepts those who wait for room, the longest first, as far as there is room.
    pub(crate) fn admit(&mut self) {
        while let Some(load) = self.line.first()
            && self.ledger.full(load).is_none()
            && let Some(waiting) = self.line.pop()
        {
            let Waiting {
                transaction,
                came,
                reply,
            } = waiting;
            self.accept(transaction, came, reply);
        }
    }

    fn accept(&mut self, transaction: Transaction, came: Instant, reply: R) {
        let slot = Slot::new(transaction, came, reply);
        self.ledger.accept(&slot);
        self.expect(slot.deadline);
        self.slots.push_back(slot);
    }

    /// Encodes the next command into `out`, if one waits and the window has room for it. `ping` is the body of the
    /// IDENTIFY that asks for nothing but an answer.
    ///
    /// `out` must be the connection's only one: a command is known by where its last byte is in all that went through.
    pub(crate) fn next_command(&mut self, ping: &[u8], out: &mut Outbox, now: Instant) -> bool {
        if self.pings.send() {
            Command::Identify(ping).encode(out);
            self.flight.push_back(Window {
                members: 0,
                bytes: 0,
                end: out.total(),
            });
            return true;
        }
        // What is let go of makes room for those who wait, who may be unfit in turn.
        while let Some(slot) = self.slots.get(self.sent) {
            if slot.unfit(&self.named).is_some() {
                self.purge();
            } else if slot.deadline <= now {
                self.let_go_overdue(now);
            } else {
                break;
            }
        }
        let Some(slot) = self.slots.get_mut(self.sent) else {
            return false;
        };
        let room = self.flying.publishes < self.window.publishes
            && self.flying.bytes.saturating_add(slot.size) <= self.window.bytes;
        // One publish may always fly, however large, and beside pings.
        if !room && self.flying.publishes > 0 {
            return false;
        }
        slot.payload.encode(&slot.topic, out);
        self.ledger.tally.resent += u64::from(std::mem::replace(&mut slot.again, true));
        self.flight.push_back(Window {
            members: 1,
            bytes: slot.size,
            end: out.total(),
        });
        self.flying.add(1, slot.size);
        self.sent += 1;
        true
    }

    /// Answers, in one pass, all that is not to be handed over; the room goes to those who wait for it.
    pub(crate) fn purge(&mut self) {
        let named = std::mem::take(&mut self.named);
        self.sweep(|slot, in_flight| {
            if in_flight {
                return None;
            }
            slot.unfit(&named)
                .map(|cause| Error::new(cause, slot.not_written()))
        });
        self.named = named;
        self.line.purge();
        self.admit();
    }

    /// Answers the next publish, whose time is over, and those of that kind right behind it.
    fn let_go_overdue(&mut self, now: Instant) {
        let of_that_kind = |slot: &&Slot<R>| slot.is_merely_overdue(&self.named, now);
        let waiting = self.slots.iter().skip(self.sent);
        let crowd = waiting.take_while(of_that_kind).count();
        // Each by itself would move all that is in flight, and a pass over all would cost too much for one.
        for mut slot in self.slots.drain(self.sent..self.sent + crowd) {
            let error = Error::new(slot.overdue(None), slot.not_written());
            self.ledger.answer(&mut slot, Err(error));
            self.ledger.release(&slot);
        }
        self.admit();
    }

    /// Forgets the limits that nsqd named: the next nsqd may be another one.
    pub(crate) fn forget_limits(&mut self) {
        self.named.clear();
    }

    /// nsqd's `OK` for the oldest command. `taken` is how many bytes the socket has taken.
    ///
    /// # Errors
    ///
    /// What is out of step: an `OK` for no command, or for one that is not wholly sent, answers nothing.
    pub(crate) fn ok(&mut self, taken: u64, now: Instant) -> Result<(), &'static str> {
        match self.flight.front() {
            None => Err("OK while no command is in flight"),
            Some(window) if window.end > taken => Err("OK for a command that is not wholly sent"),
            Some(Window { members: 0, .. }) => {
                self.flight.pop_front();
                self.pings.answer_oldest(Ok(()));
                Ok(())
            }
            Some(Window { members, .. }) => {
                for slot in self.slots.iter().take(*members) {
                    if slot.reply.is_some() {
                        let latency = now.saturating_duration_since(slot.accepted);
                        self.ledger.latency.record(latency);
                    }
                }
                self.answer_oldest(|_| Ok(()));
                Ok(())
            }
        }
    }

    /// Answers every publish whose dead-line has come. `last` is why there is no connection, if there is none.
    pub(crate) fn expire(&mut self, now: Instant, last: Option<&ConnectionError>) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let mut due: Option<Instant> = None;
        self.sweep(|slot, in_flight| {
            let deadline = slot.deadline;
            if deadline > now {
                due = Some(due.map_or(deadline, |due| due.min(deadline)));
                return None;
            }
            let cause = match in_flight {
                true => Cause::Unanswered {
                    after: slot.timeout,
                },
                false => slot.overdue(last),
            };
            Some(Error::new(cause, slot.unsettled(in_flight)))
        });
        for Waiting {
            transaction, reply, ..
        } in self.line.overdue(now)
        {
            let (after, last) = (transaction.timeout, last.cloned());
            let error = Error::new(Cause::Unsent { after, last }, Delivery::NotWritten);
            self.ledger.turn_away(reply, error);
        }
        self.due = [due, self.pings.expire(now, last), self.line.due()]
            .into_iter()
            .flatten()
            .min();
    }

    /// Answers everything with `cause`. What was handed over and not settled may be written.
    pub(crate) fn fail_all(&mut self, cause: &Cause) {
        self.sweep(|slot, in_flight| Some(Error::new(cause.clone(), slot.unsettled(in_flight))));
        self.pings.fail_all(cause);
        while self.line.first().is_some()
            && let Some(waiting) = self.line.pop()
        {
            let error = Error::new(cause.clone(), Delivery::NotWritten);
            self.ledger.turn_away(waiting.reply, error);
        }
        self.due = None;
    }

    /// Answers each slot for which `verdict`, told whether it is in flight, has an error. One in flight leaves an empty
    /// place, another one leaves.
    fn sweep(&mut self, mut verdict: impl FnMut(&Slot<R>, bool) -> Option<Error>) {
        let mut place = 0;
        self.slots.retain_mut(|slot| {
            let in_flight = place < self.sent;
            place += 1;
            if slot.reply.is_some()
                && let Some(error) = verdict(slot, in_flight)
            {
                self.ledger.answer(slot, Err(error));
            }
            let keep = in_flight || slot.reply.is_some();
            if !keep {
                self.ledger.release(slot);
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
            if let Some(mut slot) = self.slots.pop_front() {
                let answer = answer(&slot);
                self.ledger.answer(&mut slot, answer);
                self.ledger.release(&slot);
            }
        }
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
