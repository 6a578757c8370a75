//! One publish in the queue.

use std::time::{Duration, Instant};

use super::{
    limits::{LARGE, Usage},
    server_limits::ServerLimits,
    tried::Tried,
};
use crate::{
    error::{Cause, ConnectionError, Delivery, PublishError},
    link::deadline_after,
    producer::payload::{Payload, PayloadRef},
    protocol::{ServerError, Topic},
};

/// The receiver of the result of a publish or ping.
pub(crate) trait Reply {
    /// Returns whether the caller has cancelled the request.
    fn is_closed(&self) -> bool;
    fn answer(self, answer: Result<(), PublishError>);
}

/// A publish before it is accepted.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) topic: Topic,
    pub(crate) payload: Payload,
    /// Time from acceptance to the answer.
    pub(crate) timeout: Duration,
}

impl Transaction {
    pub(super) fn usage(&self) -> Usage {
        Usage::one(self.payload.size())
    }
}

/// A publish from its acceptance until it leaves the queue.
pub(crate) struct Pending<R> {
    pub(super) topic: Topic,
    pub(super) payload: Payload,
    /// Bytes of all bodies.
    pub(super) size: usize,
    pub(super) accepted: Instant,
    pub(super) deadline: Instant,
    /// `None`: answered in flight. The entry stays until nsqd answers its command, so that later
    /// responses still match.
    pub(super) reply: Option<R>,
    /// An earlier connection may have stored it.
    pub(super) maybe_written: bool,
    /// It was sent before.
    pub(super) retried: bool,
    /// It is always sent in a command of its own.
    pub(super) no_batch: bool,
    /// The members of a pool that it went to before; `None` if it has not moved.
    pub(super) tried: Option<Box<Tried>>,
}

impl<R> Pending<R> {
    pub(super) fn new(transaction: Transaction, accepted: Instant, reply: R) -> Self {
        let Transaction {
            topic,
            payload,
            timeout,
        } = transaction;
        let size = payload.size();
        Self {
            topic,
            size,
            no_batch: size > LARGE || !matches!(payload, Payload::Publish(_)),
            payload,
            accepted,
            deadline: deadline_after(accepted, timeout),
            reply: Some(reply),
            maybe_written: false,
            retried: false,
            tried: None,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        Usage::one(self.size)
    }

    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Bytes of all bodies.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The receiver of the result, unless it is answered.
    pub(crate) fn reply_mut(&mut self) -> Option<&mut R> {
        self.reply.as_mut()
    }

    /// The members of a pool that it went to before, if it has moved.
    pub(crate) fn tried(&self) -> Option<&Tried> {
        self.tried.as_deref()
    }

    pub(super) fn tried_mut(&mut self) -> &mut Tried {
        let accepted = self.accepted;
        self.tried
            .get_or_insert_with(|| Box::new(Tried::new(accepted)))
    }

    /// Notes that the nsqd of a member rejected it because of its own state.
    pub(super) fn note_rejection(&mut self, error: &ServerError) {
        self.tried_mut().note_rejection(error);
    }

    /// The delivery if nsqd may have executed the command.
    pub(super) fn ambiguous(&self) -> Delivery {
        match self.payload.as_ref() {
            PayloadRef::Batch(_) => Delivery::MaybePartial,
            _ => Delivery::MaybeWritten,
        }
    }

    /// The delivery if the latest connection did not execute the command.
    pub(super) fn not_written(&self) -> Delivery {
        if self.maybe_written {
            self.ambiguous()
        } else {
            Delivery::NotWritten
        }
    }

    /// The delivery if the publish is answered before nsqd's response is known.
    pub(super) fn delivery(&self, in_flight: bool) -> Delivery {
        if in_flight {
            self.ambiguous()
        } else {
            self.not_written()
        }
    }

    /// The cause of a timeout. `last` is the reason why there is no connection, if there is none.
    pub(super) fn timeout_cause(&self, in_flight: bool, last: Option<&ConnectionError>) -> Cause {
        let after = self.deadline.saturating_duration_since(self.accepted);
        if in_flight || self.maybe_written {
            Cause::Unanswered { after }
        } else {
            let last = last.cloned();
            Cause::NotSent { after, last }
        }
    }
}

impl<R: Reply> Pending<R> {
    pub(super) fn is_cancelled(&self) -> bool {
        self.reply.as_ref().is_none_or(Reply::is_closed)
    }

    /// Why it is answered instead of being sent.
    #[inline]
    pub(super) fn obstacle(&self, server_limits: &ServerLimits, now: Instant) -> Option<Cause> {
        let may_be_sent = self.deadline > now && !self.is_cancelled() && server_limits.is_empty();
        if may_be_sent {
            return None;
        }
        self.undeliverable(server_limits).or_else(|| {
            let is_expired = self.deadline <= now;
            is_expired.then(|| self.timeout_cause(false, None))
        })
    }

    /// Why it is answered instead of being sent, apart from its deadline.
    pub(super) fn undeliverable(&self, server_limits: &ServerLimits) -> Option<Cause> {
        if self.is_cancelled() {
            return Some(Cause::Closed);
        }
        server_limits.exceeded_by(&self.payload)
    }
}
