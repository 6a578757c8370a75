//! The transaction queue: every publish from its acceptance to its answer. Pure: time and counts come in as arguments.
//!
//! It is the one place that bounds memory and the one place that answers. A publish never moves: it is pushed at the
//! back of its lane and leaves when its fate is known. A command in flight is a [`Window`] over the front of a lane:
//!
//! ```text
//!   lane a   | publish | publish | publish | publish | publish | ...
//!            '---- window 1 ----'  '-window 3-'  '-- not handed over
//!            '------------ sent --------------'
//!   lane b   | publish | publish | ...
//!            '-window 2-'
//! ```
//!
//! With automatic batching each topic has its lane, the lanes take turns, and one command may carry several publishes;
//! without it there is a single lane, and each publish is a command. An answer takes the oldest window and answers the
//! publishes under it. A lost connection takes the windows away; what nsqd did not execute still stands in its place, in
//! order, and is handed over again. A publish that timed out after it was handed over leaves an empty place, so that no
//! answer is ever shifted.
//!
//! `slot` is one publish and what is known of it; `lane` is where they stand; `next` forms the next command, for which
//! `fold` decides what it carries, and `pace` how many are in flight; `line` is where publishes wait for room that is not there; `ending` is
//! what the end of a connection means; `leaving` is what leaves without a word of nsqd; `ledger` counts what is held and
//! how it was answered.

mod ending;
mod fold;
mod lane;
mod latency;
mod leaving;
mod ledger;
mod line;
mod next;
mod pace;
mod ping;
mod slot;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

pub use self::latency::Latency;
pub(crate) use self::{
    ending::{Ending, Settlement},
    fold::Batch,
    ledger::{Limits, Load, Tally},
    slot::{Reply, Transaction, later},
};
use self::{
    lane::Lanes,
    ledger::Ledger,
    line::{Line, Waiting},
    pace::Pace,
    ping::Pings,
    slot::Slot,
};
use crate::{
    error::{Cause, Delivery, PublishError},
    protocol::{ServerError, Topic},
};

/// A command in flight.
#[derive(Debug, Clone, Copy)]
struct Window {
    lane: usize,
    /// It carries so many publishes of the lane, those behind the older windows; a ping carries none.
    load: Load,
    /// Where its last byte is in the connection's stream of commands.
    end: u64,
    since: Instant,
}

/// The publishes outstanding. When it is dropped, it answers what it holds.
pub(crate) struct TransactionQueue<R: Reply> {
    window: Load,
    batch: Option<Batch>,
    retry_maybe_written: bool,
    lanes: Lanes<R>,
    flight: VecDeque<Window>,
    flying: Load,
    pace: Pace,
    /// The lane of the command that nsqd refused: on the next connection it stands last, or the others would not get far.
    offender: Option<usize>,
    /// nsqd had trouble: nothing is folded until it has answered a publish with `OK`.
    careful: bool,
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
            batch,
            retry_maybe_written,
        } = limits;
        Self {
            window,
            batch,
            retry_maybe_written,
            lanes: match batch {
                Some(_) => Lanes::per_topic(),
                None => Lanes::single(),
            },
            flight: VecDeque::new(),
            flying: Load::default(),
            pace: Pace::default(),
            offender: None,
            careful: false,
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

    /// The topic of the oldest command in flight; a ping has none.
    pub(crate) fn oldest_topic(&mut self) -> Option<Topic> {
        let window = self
            .flight
            .front()
            .filter(|window| window.load.publishes > 0)?;
        let slot = self.lanes.get_mut(window.lane)?.slots.front()?;
        Some(slot.topic.clone())
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
        if self.due.is_none_or(|due| deadline < due) {
            self.due = Some(deadline);
        }
    }

    /// Accepts a publish, or answers it at once where there is no room. Those who wait for room come first.
    pub(crate) fn push(&mut self, transaction: Transaction, now: Instant, reply: R) {
        self.admit();
        let load = self.behind_the_line(Load {
            publishes: 1,
            bytes: transaction.payload.size(),
        });
        if self.ledger.has_room(load) {
            self.accept(transaction, now, reply);
        } else {
            let error = PublishError::new(self.ledger.full(load), Delivery::NotWritten);
            self.ledger.turn_away(reply, error);
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
            && self.ledger.has_room(load)
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
        self.lanes.push(slot);
    }

    /// A connection is up, whose handshake took `round_trip` for one answer.
    pub(crate) fn begin(&mut self, round_trip: Duration) {
        self.pace.begin(round_trip);
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
            Some(window) if window.load.publishes == 0 => {
                self.flight.pop_front();
                self.pings.answer_oldest(Ok(()));
                Ok(())
            }
            Some(window) => {
                self.pace.heard(now.saturating_duration_since(window.since));
                self.careful = false;
                if let Some(lane) = self.lanes.get_mut(window.lane) {
                    lane.careful = false;
                    let members = lane.slots.range(..window.load.publishes);
                    let waiting = members.filter(|slot| slot.reply.is_some());
                    let accepted = waiting.map(|slot| slot.accepted);
                    self.ledger.latency.record_all(accepted, now);
                }
                self.answer_oldest(|_| Ok(()));
                Ok(())
            }
        }
    }
    /// Answers the publishes of the oldest command, which leave.
    fn answer_oldest(&mut self, answer: impl Fn(&Slot<R>) -> Result<(), PublishError>) {
        let Some(Window {
            lane: place, load, ..
        }) = self.flight.pop_front()
        else {
            return;
        };
        self.flying.remove(load.publishes, load.bytes);
        let Some(lane) = self.lanes.get_mut(place) else {
            return;
        };
        lane.sent = lane.sent.saturating_sub(load.publishes);
        for mut slot in lane.slots.drain(..load.publishes) {
            let answer = answer(&slot);
            self.ledger.answer(&mut slot, answer);
            self.ledger.release(&slot);
        }
        self.lanes.rest(place);
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
