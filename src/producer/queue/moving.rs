//! Publishes that move between the queues of a pool: from the pool's own queue to those of its
//! members, and back.

use std::{mem, time::Instant};

use super::{
    parts::Parts,
    pending::{Pending, Reply},
    tried::MemberSet,
};
use crate::{
    error::{Cause, PublishError},
    protocol::ServerError,
};

/// Publishes on their way from one queue to another. When it is dropped, it answers them.
pub(crate) struct Moving<R: Reply>(Vec<Pending<R>>);

impl<R: Reply> Moving<R> {
    pub(crate) const fn new(publishes: Vec<Pending<R>>) -> Self {
        Self(publishes)
    }

    pub(crate) fn push(&mut self, publish: Pending<R>) {
        self.0.push(publish);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Pending<R>> {
        self.0.iter_mut()
    }

    /// Notes that a member of the pool has given them back. Returns whether its nsqd has rejected
    /// one of them because of its own state.
    pub(crate) fn note_given_back(&mut self, member: MemberSet, now: Instant) -> bool {
        let mut is_rejected = false;
        for publish in &mut self.0 {
            is_rejected |= publish.tried_mut().on_given_back(member, now);
        }
        is_rejected
    }
}

impl<R: Reply> Drop for Moving<R> {
    fn drop(&mut self) {
        for publish in &mut self.0 {
            let error = PublishError::new(Cause::Closed, publish.not_written());
            if let Some(reply) = publish.reply.take() {
                reply.answer(Err(error));
            }
        }
    }
}

/// What a pool does with a publish.
pub(crate) enum Routed {
    /// It goes to the member that the router has chosen.
    Sent,
    /// It stays in the queue, and so do those behind it of its topic.
    Stays,
    /// Every member that is up has rejected it.
    Rejected(ServerError),
}

/// Chooses the members to which publishes go.
pub(crate) trait Route<R: Reply> {
    /// Decides about a publish.
    fn route(&mut self, publish: &Pending<R>) -> Routed;

    /// Takes a publish for which [`route`](Self::route) has returned [`Routed::Sent`].
    fn take(&mut self, publish: Pending<R>);
}

/// A pass that removes all queued publishes.
#[derive(Debug, Default)]
pub(super) struct GiveBack {
    /// Number of topic queues that are visited.
    visited: usize,
}

impl GiveBack {
    /// Removes publishes as long as the budget allows. Returns whether all are removed.
    pub(super) fn advance<R: Reply>(&mut self, parts: &mut Parts<'_, R>) -> bool {
        while let Some(queue) = parts.topics.get_mut(self.visited) {
            if parts.budget.is_exhausted() {
                return false;
            }
            parts.budget.spend(1);
            if let Some(publish) = queue.remove_next() {
                parts.accounting.give_away(&publish);
                parts.given_back.push(publish);
            } else {
                parts.topics.free_if_empty(self.visited);
                self.visited += 1;
            }
        }
        true
    }
}

/// Adds publishes of another queue. One that was given back, or is older than others here, precedes
/// everything younger of its topic that is not in flight.
pub(super) fn take_in<R: Reply>(
    mut publishes: Moving<R>,
    parts: &mut Parts<'_, R>,
    has_work: bool,
) {
    let mut older: Vec<Pending<R>> = Vec::new();
    for publish in publishes.0.drain(..) {
        parts.budget.spend(1);
        parts.accounting.take_in(&publish);
        parts.expiry.add(publish.deadline);
        // A job may be at work on what is queued.
        if has_work || publish.tried.is_none() && !parts.topics.has_younger(&publish) {
            parts.topics.push(publish);
            continue;
        }
        if older
            .first()
            .is_some_and(|first| first.topic != publish.topic)
        {
            parts.topics.insert(mem::take(&mut older));
        }
        older.push(publish);
    }
    parts.topics.insert(older);
}

/// Passes queued publishes on to the members of a pool, as far as the budget allows. Those that
/// will not be sent are answered.
pub(super) fn pass_on<R: Reply>(
    router: &mut impl Route<R>,
    parts: &mut Parts<'_, R>,
    now: Instant,
) {
    for _ in 0..parts.topics.with_turn() {
        let Some(index) = parts.topics.take_turn() else {
            return;
        };
        let Some(queue) = parts.topics.get_mut(index) else {
            continue;
        };
        while !parts.budget.is_exhausted()
            && let Some(publish) = queue.next()
        {
            let routed = match publish.obstacle(parts.server_limits, now) {
                Some(cause) => Err(cause),
                None => match router.route(publish) {
                    Routed::Sent => Ok(()),
                    Routed::Stays => break,
                    Routed::Rejected(error) => Err(Cause::Rejected(error)),
                },
            };
            parts.budget.spend(1);
            let Some(mut publish) = queue.remove_next() else {
                break;
            };
            match routed {
                Ok(()) => {
                    parts.accounting.give_away(&publish);
                    router.take(publish);
                }
                Err(cause) => {
                    let error = PublishError::new(cause, publish.not_written());
                    parts.accounting.answer(&mut publish, Err(error));
                    parts.accounting.release(&publish);
                }
            }
        }
        parts.topics.make_ready(index);
        parts.topics.free_if_empty(index);
    }
}
