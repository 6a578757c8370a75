//! Pings: commands without publishes, which take their place among the others in flight.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{expiry::Expiry, pending::Reply};
use crate::{
    error::{Cause, ConnectionError, Delivery, PublishError},
    link::deadline_after,
    protocol::ServerError,
};

struct Ping<R> {
    timeout: Duration,
    deadline: Instant,
    /// `None`: answered in flight. The entry stays until nsqd answers the command.
    reply: Option<R>,
}

impl<R: Reply> Ping<R> {
    /// Returns whether it is answered or cancelled.
    fn is_done(&self) -> bool {
        self.reply.as_ref().is_none_or(Reply::is_closed)
    }
}

/// The pings outstanding, the oldest first. The first `sent` are in flight.
///
/// A ping has no effect in nsqd, so it is retried after a lost connection, and its failure is
/// always `NotWritten`.
pub(super) struct Pings<R> {
    pings: VecDeque<Ping<R>>,
    sent: usize,
    /// Number of pings from which cancelled ones are removed before another is added.
    crowded: usize,
}

impl<R: Reply> Pings<R> {
    /// Minimum of `crowded`: a removal visits all pings, so a few cancelled ones may stay.
    const CROWDED: usize = 64;

    /// Maximum number of pings in flight: one that timed out keeps its place until nsqd responds.
    const MAX_IN_FLIGHT: usize = 64;

    pub(super) fn new() -> Self {
        Self {
            pings: VecDeque::new(),
            sent: 0,
            crowded: Self::CROWDED,
        }
    }

    /// Returns whether no caller awaits a response.
    pub(super) fn is_empty(&mut self) -> bool {
        self.next().is_none() && self.pings.iter().all(Ping::is_done)
    }

    /// Returns whether a ping is to be sent, perhaps a cancelled one.
    pub(super) fn has_unsent(&self) -> bool {
        self.sent < self.pings.len().min(Self::MAX_IN_FLIGHT)
    }

    /// Returns the next ping to be sent. Cancelled ones in front of it are removed.
    fn next(&mut self) -> Option<&Ping<R>> {
        while self.pings.get(self.sent)?.is_done() {
            self.pings.remove(self.sent);
        }
        self.pings.get(self.sent)
    }

    /// Adds a ping and returns its deadline.
    pub(super) fn push(&mut self, timeout: Duration, now: Instant, reply: R) -> Instant {
        if self.pings.len() >= self.crowded {
            let mut index = 0;
            self.pings.retain(|ping| {
                let in_flight = index < self.sent;
                index += 1;
                in_flight || !ping.is_done()
            });
            self.crowded = Self::CROWDED.max(self.pings.len().saturating_mul(2));
        }
        let deadline = deadline_after(now, timeout);
        self.pings.push_back(Ping {
            timeout,
            deadline,
            reply: Some(reply),
        });
        deadline
    }

    /// Number of pings in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.sent
    }

    /// Returns whether a ping is to be sent now; it counts as sent then.
    pub(super) fn send_next(&mut self, now: Instant) -> bool {
        if self.sent >= Self::MAX_IN_FLIGHT {
            return false;
        }
        while let Some(ping) = self.pings.get(self.sent) {
            if !ping.is_done() && ping.deadline > now {
                self.sent += 1;
                return true;
            }
            if let Some(ping) = self.pings.remove(self.sent)
                && let Some(reply) = ping.reply.filter(|reply| !reply.is_closed())
            {
                let cause = Cause::NotSent {
                    after: ping.timeout,
                    last: None,
                };
                reply.answer(Err(PublishError::new(cause, Delivery::NotWritten)));
            }
        }
        false
    }

    /// nsqd has rejected the oldest ping that was sent.
    pub(super) fn reject_oldest(&mut self, error: &ServerError) {
        let cause = Cause::Rejected(error.clone());
        self.answer_oldest(Err(PublishError::new(cause, Delivery::NotWritten)));
    }

    /// Answers the oldest ping, which leaves.
    pub(super) fn answer_oldest(&mut self, answer: Result<(), PublishError>) {
        self.sent = self.sent.saturating_sub(1);
        if let Some(reply) = self.pings.pop_front().and_then(|ping| ping.reply) {
            reply.answer(answer);
        }
    }

    /// The connection has ended: pings in flight are sent again.
    pub(super) fn take_back(&mut self) {
        self.sent = 0;
        self.pings.retain(|ping| ping.reply.is_some());
    }

    /// Answers the pings whose deadline has passed. `last` is the reason why there is no
    /// connection, if there is none.
    pub(super) fn expire(
        &mut self,
        now: Instant,
        last: Option<&ConnectionError>,
        expiry: &mut Expiry,
    ) {
        self.fail_where(|ping, in_flight| {
            let after = ping.timeout;
            let cause = || {
                if in_flight {
                    Cause::Unanswered { after }
                } else {
                    let last = last.cloned();
                    Cause::NotSent { after, last }
                }
            };
            expiry.has_passed(ping.deadline, now).then(cause)
        });
    }

    pub(super) fn fail_all(&mut self, cause: &Cause) {
        self.fail_where(|_, _| Some(cause.clone()));
    }

    /// Answers each unanswered ping for which `cause` returns one; `cause` also receives whether
    /// the ping is in flight.
    fn fail_where(&mut self, mut cause: impl FnMut(&Ping<R>, bool) -> Option<Cause>) {
        let mut index = 0;
        self.pings.retain_mut(|ping| {
            let in_flight = index < self.sent;
            index += 1;
            if ping.reply.is_some()
                && let Some(cause) = cause(ping, in_flight)
                && let Some(reply) = ping.reply.take()
            {
                reply.answer(Err(PublishError::new(cause, Delivery::NotWritten)));
            }
            in_flight || ping.reply.is_some()
        });
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.pings.len()
    }
}
