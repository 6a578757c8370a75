//! What the queue of a pool's member keeps for the pool.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::{
    pending::{Pending, Reply},
    tried::MemberSet,
};
use crate::error::{Cause, PublishError};

/// Publishes on their way from one queue to another. When it is dropped, it answers them.
pub(crate) struct Moving<R: Reply>(pub(super) Vec<Pending<R>>);

impl<R: Reply> Moving<R> {
    pub(crate) const fn new(publishes: Vec<Pending<R>>) -> Self {
        Self(publishes)
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

/// What the queue of a pool's member keeps for the pool.
pub(crate) struct Pooled<R> {
    /// Commands of publishes that nsqd has answered with `OK`, and the time of all these answers.
    pub(crate) answers: (u64, Duration),
    /// nsqd has rejected a command because of its own state since the last connection ended.
    pub(super) is_rejected: bool,
    /// Publishes that are to go to another queue.
    pub(super) given_back: Vec<Pending<R>>,
}

impl<R: Reply> Pooled<R> {
    pub(super) fn new() -> Self {
        Self {
            answers: (0, Duration::ZERO),
            is_rejected: false,
            given_back: Vec::new(),
        }
    }

    pub(super) fn on_answer(&mut self, time: Duration) {
        let (count, total) = self.answers;
        self.answers = (count + 1, total + time);
    }

    /// A connection has ended. Returns whether nsqd has rejected a command on it because of its own
    /// state.
    pub(crate) fn take_rejected(&mut self) -> bool {
        mem::take(&mut self.is_rejected)
    }

    /// Returns the publishes that were removed since the last call.
    pub(crate) fn take_given_back(&mut self) -> Moving<R> {
        Moving::new(mem::take(&mut self.given_back))
    }
}
