//! Stopping without loss: no new publishes, time for the outstanding ones, a truthful answer to the rest.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use actix::{
    Context, Handler, Message,
    dev::{MessageResponse, OneshotSender},
};

use super::{
    ConnectionEvent, Producer,
    queue::{Counters, deadline_after},
};

/// Stops a producer: new publishes are refused from now on, outstanding ones have until the dead-line, and those left
/// then are answered with what is known of them. The address lives on and answers
/// [`ErrorKind::Drained`](crate::ErrorKind::Drained) to every publish.
///
/// When the answer comes, the producer holds no connection, no timer and no other actor. A producer that is not
/// connected goes on trying until the dead-line. Draining again is answered with the end of the first drain; of
/// several dead-lines the earliest counts.
///
/// # Cancel safety
///
/// Dropped before the producer has come to it, the request begins nothing. Later, dropping it does not take the drain back.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "DrainReport")]
pub struct Drain {
    /// Time for the outstanding publishes.
    pub timeout: Duration,
}

/// How the publishes that were outstanding when a drain began were answered; those answered before do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Stored by nsqd.
    pub ok: u64,
    /// Certainly not stored.
    pub not_written: u64,
    /// Perhaps stored.
    pub maybe_written: u64,
    /// Batches of which a part may be stored.
    pub maybe_partial: u64,
}

impl DrainReport {
    /// Whether every outstanding publish was stored.
    pub fn is_clean(&self) -> bool {
        self.not_written == 0 && self.maybe_written == 0 && self.maybe_partial == 0
    }

    fn between(before: Counters, after: Counters) -> Self {
        Self {
            ok: after.ok - before.ok,
            not_written: after.not_written - before.not_written,
            maybe_written: after.maybe_written - before.maybe_written,
            maybe_partial: after.maybe_partial - before.maybe_partial,
        }
    }
}

/// How far a producer's drain has come.
pub(super) enum Draining {
    No,
    Until {
        deadline: Instant,
        before: Counters,
    },
    /// Nothing is waited for any more but the end of the connection.
    Over {
        before: Counters,
    },
    Done(DrainReport),
}

type Waiting = Rc<RefCell<Vec<OneshotSender<DrainReport>>>>;

/// A producer's drain, and who waits for its end.
pub(super) struct Drainage {
    pub(super) state: Draining,
    waiting: Waiting,
}

impl Drainage {
    pub(super) fn new() -> Self {
        Self {
            state: Draining::No,
            waiting: Waiting::default(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            Draining::Until { deadline, .. } => Some(deadline),
            _ => None,
        }
    }

    pub(super) fn is_awaited(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    fn begin(&mut self, deadline: Instant, now: Counters) {
        match &mut self.state {
            Draining::No => {
                self.state = Draining::Until {
                    deadline,
                    before: now,
                }
            }
            Draining::Until {
                deadline: earliest, ..
            } => *earliest = deadline.min(*earliest),
            Draining::Over { .. } | Draining::Done(_) => {}
        }
    }

    /// Whether nothing is waited for any more: its dead-line has passed, or nothing is outstanding.
    pub(super) fn is_over(&mut self, outstanding: bool, now: Instant) -> bool {
        match self.state {
            Draining::Until { deadline, before } if !outstanding || deadline <= now => {
                self.state = Draining::Over { before };
                true
            }
            Draining::Over { .. } => true,
            _ => false,
        }
    }

    /// Ends the drain: nothing is outstanding any more, and nothing is held.
    pub(super) fn finish(&mut self, now: Counters) -> DrainReport {
        let report = match self.state {
            Draining::Until { before, .. } | Draining::Over { before } => {
                DrainReport::between(before, now)
            }
            Draining::Done(report) => report,
            Draining::No => DrainReport::default(),
        };
        self.state = Draining::Done(report);
        report
    }

    /// Tells the end of the drain to those who wait for it.
    pub(super) fn report(&mut self) {
        if let Draining::Done(report) = self.state {
            for sender in self.waiting.take() {
                // Whoever went away does not want it.
                let _ = sender.send(report);
            }
        }
    }
}

/// What the handler returns for a [`Drain`]: the end, or a place among those who wait for it.
#[derive(Debug)]
pub struct DrainReceipt {
    done: Option<DrainReport>,
    waiting: Waiting,
}

impl MessageResponse<Producer, Drain> for DrainReceipt {
    fn handle(self, _: &mut Context<Producer>, sender: Option<OneshotSender<DrainReport>>) {
        let Some(sender) = sender else { return };
        match self.done {
            Some(report) => {
                let _ = sender.send(report);
            }
            None => self.waiting.borrow_mut().push(sender),
        }
    }
}

impl Handler<Drain> for Producer {
    type Result = DrainReceipt;

    fn handle(&mut self, Drain { timeout }: Drain, ctx: &mut Context<Self>) -> DrainReceipt {
        let now = self.handling(ctx);
        let deadline = deadline_after(now, timeout);
        if !self.is_draining() {
            self.tell(|address| ConnectionEvent::Draining { address });
        }
        let mut queue = self.desk.queue.borrow_mut();
        // Callers that are gone are not waited for. What nsqd is known to refuse is still outstanding, and counts.
        queue.remove_cancelled();
        self.drainage.begin(deadline, queue.counters());
        let done = match self.drainage.state {
            Draining::Done(report) => Some(report),
            _ => None,
        };
        DrainReceipt {
            done,
            waiting: Rc::clone(&self.drainage.waiting),
        }
    }
}
