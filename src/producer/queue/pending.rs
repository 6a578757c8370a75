//! One publish in the queue: what it sends, until when, who waits for the answer, and what is known of it.

use std::time::{Duration, Instant};

use super::limits::{LARGE, Usage, deadline_after};
use crate::{
    error::{Cause, ConnectionError, Delivery, PublishError},
    producer::payload::Payload,
    protocol::{ServerError, Topic},
};

/// Who waits for the answer to a publish.
pub(crate) trait Reply {
    /// Whether nobody waits any more.
    fn is_closed(&self) -> bool;
    fn answer(self, answer: Result<(), PublishError>);
}

/// A publish as it is accepted.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) topic: Topic,
    pub(crate) payload: Payload,
    /// Time from acceptance to the answer.
    pub(crate) timeout: Duration,
}

impl Transaction {
    pub(super) fn usage(&self) -> Usage {
        Usage {
            publishes: 1,
            bytes: self.payload.size(),
        }
    }
}

/// A publish in its place.
pub(super) struct Pending<R> {
    pub(super) topic: Topic,
    pub(super) payload: Payload,
    pub(super) size: usize,
    pub(super) accepted: Instant,
    pub(super) deadline: Instant,
    /// `None`: answered already, an empty place until its command is answered.
    pub(super) reply: Option<R>,
    /// An earlier connection may have delivered it.
    pub(super) maybe_written: bool,
    /// It was handed over before.
    pub(super) again: bool,
    /// It is never folded with others.
    pub(super) no_batch: bool,
}

impl<R> Pending<R> {
    pub(super) fn new(transaction: Transaction, now: Instant, reply: R) -> Self {
        let Transaction {
            topic,
            payload,
            timeout,
        } = transaction;
        let deadline = deadline_after(now, timeout);
        let size = payload.size();
        Self {
            topic,
            size,
            no_batch: size > LARGE || !matches!(payload, Payload::Publish(_)),
            payload,
            accepted: now,
            deadline,
            reply: Some(reply),
            maybe_written: false,
            again: false,
        }
    }

    /// Time from its acceptance to its answer.
    pub(super) fn timeout(&self) -> Duration {
        self.deadline.saturating_duration_since(self.accepted)
    }

    /// What to say of it if nsqd may have executed its command.
    pub(super) fn maybe(&self) -> Delivery {
        match self.payload {
            Payload::Batch(_) => Delivery::MaybePartial,
            _ => Delivery::MaybeWritten,
        }
    }

    /// What to say of it if the latest connection certainly did not execute its command.
    pub(super) fn not_written(&self) -> Delivery {
        if self.maybe_written {
            self.maybe()
        } else {
            Delivery::NotWritten
        }
    }

    /// What to say of it if it must be answered before the fate of its command is known.
    pub(super) fn unsettled(&self, in_flight: bool) -> Delivery {
        if in_flight {
            self.maybe()
        } else {
            self.not_written()
        }
    }

    /// Why its time was over before it was handed over. `last` is why there is no connection, if there is none.
    pub(super) fn overdue(&self, last: Option<&ConnectionError>) -> Cause {
        let (after, last) = (self.timeout(), last.cloned());
        // What an earlier connection may have delivered was sent, even if it waits again.
        match self.maybe_written {
            true => Cause::Unanswered { after },
            false => Cause::NotSent { after, last },
        }
    }
}

impl<R: Reply> Pending<R> {
    /// Why it is not to be handed over, if it is not: its caller is gone, or nsqd is known to refuse it.
    pub(super) fn undeliverable(&self, server_limits: &[ServerError]) -> Option<Cause> {
        if self.reply.as_ref().is_none_or(Reply::is_closed) {
            return Some(Cause::Closed);
        }
        server_limits.iter().find_map(|refusal| {
            let size = self.payload.exceeds(refusal)?;
            Some(Cause::ExceedsServerLimit {
                size,
                error: refusal.clone(),
            })
        })
    }

    /// Whether it is to be answered instead of being handed over.
    pub(super) fn is_undeliverable(&self, server_limits: &[ServerError], now: Instant) -> bool {
        self.deadline <= now || self.undeliverable(server_limits).is_some()
    }
}
