//! A graceful shutdown: how far it is, and which callers wait for its end.

use std::{cell::RefCell, rc::Rc, time::Instant};

use actix::dev::OneshotSender;

use super::reply::DeferredReply;

/// How far the drain of an actor is; `R` is the report at its end.
///
/// ```text
///                begin               nothing outstanding, deadline           finish
///   NotDraining -------> Until(deadline) -------------------------> Closing -------> Done
/// ```
pub(crate) struct DrainState<R> {
    phase: Phase<R>,
    /// Shared with the replies that have not been given their sender yet.
    waiters: Rc<RefCell<Vec<OneshotSender<R>>>>,
}

enum Phase<R> {
    NotDraining,
    /// Outstanding work may be finished until this deadline.
    Until(Instant),
    /// Only the end of the connection is awaited.
    Closing,
    Done(R),
}

impl<R: Clone + 'static> DrainState<R> {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::NotDraining,
            waiters: Rc::default(),
        }
    }

    /// Whether a drain has begun; it never stops being true.
    pub(crate) fn has_begun(&self) -> bool {
        !matches!(self.phase, Phase::NotDraining)
    }

    /// The report, once the drain has ended.
    pub(crate) fn report(&self) -> Option<&R> {
        match &self.phase {
            Phase::Done(report) => Some(report),
            Phase::NotDraining | Phase::Until(_) | Phase::Closing => None,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Until(deadline) => Some(deadline),
            Phase::NotDraining | Phase::Closing | Phase::Done(_) => None,
        }
    }

    /// Whether the time for outstanding work is over.
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Until(deadline) => deadline <= now,
            Phase::Closing | Phase::Done(_) => true,
            Phase::NotDraining => false,
        }
    }

    /// Whether callers wait for the end of the drain.
    pub(crate) fn has_waiters(&self) -> bool {
        !self.waiters.borrow().is_empty()
    }

    /// Begins a drain, or shortens the one that is under way. The reply is sent when it has ended.
    pub(crate) fn begin(&mut self, deadline: Instant) -> DeferredReply<R> {
        match &mut self.phase {
            Phase::NotDraining => self.phase = Phase::Until(deadline),
            Phase::Until(earliest) => *earliest = deadline.min(*earliest),
            Phase::Closing => {}
            Phase::Done(report) => return DeferredReply::now(report.clone()),
        }
        let waiters = Rc::clone(&self.waiters);
        DeferredReply::later(move |sender| waiters.borrow_mut().extend(sender))
    }

    /// Ends the wait of a drain if nothing is outstanding or the deadline has passed. Returns
    /// whether a drain is under way that waits for nothing more.
    pub(crate) fn end_if_over(&mut self, is_outstanding: bool, now: Instant) -> bool {
        if let Phase::Until(deadline) = self.phase
            && (!is_outstanding || deadline <= now)
        {
            self.phase = Phase::Closing;
        }
        matches!(self.phase, Phase::Closing)
    }

    /// Ends the drain: nothing is outstanding, and the actor holds no connection.
    pub(crate) fn finish(&mut self, report: R) {
        self.phase = Phase::Done(report);
    }

    /// Sends the report to those who wait for it, if the drain has ended.
    pub(crate) fn answer_waiters(&mut self) {
        if let Phase::Done(report) = &self.phase {
            for sender in self.waiters.take() {
                // Fails if the caller has dropped its request.
                let _ = sender.send(report.clone());
            }
        }
    }
}
