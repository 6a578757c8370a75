//! Pings: commands without publishes, which take their place among the others, so that answers are matched by one rule.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{limits::deadline_after, pending::Reply};
use crate::error::{Cause, ConnectionError, Delivery, PublishError};

struct Ping<R> {
    timeout: Duration,
    deadline: Instant,
    /// `None`: timed out in flight; its place waits for its answer.
    reply: Option<R>,
}

/// The pings outstanding, the oldest first; so many of the front are in flight. One whose connection is lost is sent
/// again on the next, since it changes nothing.
pub(super) struct Pings<R> {
    pings: VecDeque<Ping<R>>,
    sent: usize,
    /// At this length those not sent whose caller is gone are let go.
    crowded: usize,
}

impl<R: Reply> Ping<R> {
    /// Whether it is answered, or its caller is gone.
    fn is_forgotten(&self) -> bool {
        self.reply.as_ref().is_none_or(Reply::is_closed)
    }
}

impl<R: Reply> Pings<R> {
    const CROWDED: usize = 64;

    pub(super) fn new() -> Self {
        Self {
            pings: VecDeque::new(),
            sent: 0,
            crowded: Self::CROWDED,
        }
    }

    /// Whether nobody waits for an answer. Those who have gone away do not.
    pub(super) fn is_empty(&self) -> bool {
        self.pings.iter().all(Ping::is_forgotten)
    }

    /// Accepts a ping, and returns its dead-line.
    pub(super) fn push(&mut self, timeout: Duration, now: Instant, reply: R) -> Instant {
        if self.pings.len() >= self.crowded {
            let mut index = 0;
            self.pings.retain(|ping| {
                let in_flight = index < self.sent;
                index += 1;
                in_flight || !ping.is_forgotten()
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

    /// How many are in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.sent
    }

    /// Whether one is to be sent now; it counts as sent then.
    pub(super) fn send(&mut self) -> bool {
        while let Some(ping) = self.pings.get(self.sent) {
            if !ping.is_forgotten() {
                self.sent += 1;
                return true;
            }
            self.pings.remove(self.sent);
        }
        false
    }

    /// nsqd has answered the oldest.
    pub(super) fn answer_oldest(&mut self, answer: Result<(), PublishError>) {
        self.sent = self.sent.saturating_sub(1);
        if let Some(reply) = self.pings.pop_front().and_then(|ping| ping.reply) {
            reply.answer(answer);
        }
    }

    /// The connection has ended: those in flight are to be sent again.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
        self.pings.retain(|ping| ping.reply.is_some());
    }

    /// Answers those whose dead-line has come, and returns the next dead-line.
    pub(super) fn expire(
        &mut self,
        now: Instant,
        last: Option<&ConnectionError>,
    ) -> Option<Instant> {
        self.fail(|ping, in_flight| {
            let after = ping.timeout;
            (ping.deadline <= now).then(|| match in_flight {
                true => Cause::Unanswered { after },
                false => Cause::NotSent {
                    after,
                    last: last.cloned(),
                },
            })
        });
        self.pings
            .iter()
            .filter(|ping| ping.reply.is_some())
            .map(|ping| ping.deadline)
            .min()
    }

    pub(super) fn fail_all(&mut self, cause: &Cause) {
        self.fail(|_, _| Some(cause.clone()));
    }

    fn fail(&mut self, mut verdict: impl FnMut(&Ping<R>, bool) -> Option<Cause>) {
        let mut index = 0;
        self.pings.retain_mut(|ping| {
            let in_flight = index < self.sent;
            index += 1;
            if let Some(cause) = verdict(ping, in_flight)
                && let Some(reply) = ping.reply.take()
            {
                // A ping writes nothing, whatever becomes of it.
                reply.answer(Err(PublishError::new(cause, Delivery::NotWritten)));
            }
            in_flight || ping.reply.is_some()
        });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.pings.len()
    }
}
