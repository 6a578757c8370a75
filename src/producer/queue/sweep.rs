//! A pass over all publishes that answers some of them.

use std::time::Instant;

use super::{
    admission::Waiter,
    expiry::Expiry,
    parts::Parts,
    pending::{Pending, Reply},
    rejection::Rejection,
    server_limits::ServerLimits,
};
use crate::{
    error::{Cause, ConnectionError, PublishError},
    protocol::Topic,
};

/// Which publishes a pass answers.
#[derive(Debug)]
pub(super) enum Reason {
    /// Those whose deadline has passed at `due`. `last` is the reason why there is no connection.
    Expired {
        due: Instant,
        last: Option<ConnectionError>,
    },
    /// Those that will not be sent: cancelled, or above a limit that nsqd named.
    Undeliverable,
    /// Cancelled ones.
    Cancelled,
    /// Those of the topic, or all of them: nsqd rejected one of them.
    Rejected(Rejection, Option<Topic>),
    /// All.
    Closed(Cause),
}

/// A pass over all publishes.
#[derive(Debug)]
pub(super) struct Sweep {
    reason: Reason,
    position: Position,
}

/// What is visited next: all topic queues, then all waiters.
#[derive(Debug, Clone, Copy)]
enum Position {
    Queue { index: usize, block: usize },
    Line { number: usize, block: usize },
}

impl Sweep {
    /// A pass over all publishes.
    pub(super) fn new(reason: Reason) -> Self {
        let position = Position::Queue { index: 0, block: 0 };
        Self { reason, position }
    }

    /// A pass over those that wait for capacity.
    pub(super) fn of_waiters(reason: Reason) -> Self {
        let position = Position::Line {
            number: 0,
            block: 0,
        };
        Self { reason, position }
    }

    /// Visits publishes as long as the budget allows. Returns whether all are visited.
    pub(super) fn advance<R: Reply>(&mut self, parts: &mut Parts<'_, R>) -> bool {
        loop {
            let size = match self.position {
                Position::Queue { index, block } => {
                    let queue = parts.topics.get_mut(index);
                    queue.map_or(0, |queue| queue.publishes().block_len(block))
                }
                Position::Line { number, block } => match parts.admission.line(number) {
                    Some(line) => line.block_len(block),
                    None => {
                        parts.admission.on_cancelled_removed();
                        return true;
                    }
                },
            };
            // A topic costs something, too.
            let size = size.max(1);
            if !parts.budget.allows(size) {
                return false;
            }
            parts.budget.spend(size);
            self.position = match self.position {
                Position::Queue { index, block } => self.visit_queue(index, block, parts),
                Position::Line { number, block } => self.visit_line(number, block, parts),
            };
        }
    }

    fn visit_queue<R: Reply>(
        &self,
        index: usize,
        block: usize,
        parts: &mut Parts<'_, R>,
    ) -> Position {
        let Parts {
            topics,
            accounting,
            expiry,
            server_limits,
            ..
        } = parts;
        let Some(queue) = topics.get_mut(index) else {
            return Position::Line {
                number: 0,
                block: 0,
            };
        };
        if block >= queue.publishes().blocks() {
            topics.free_if_empty(index);
            return Position::Queue {
                index: index + 1,
                block: 0,
            };
        }
        let block = queue.publishes().retain_block(block, |publish, in_flight| {
            if publish.reply.is_some()
                && let Some(error) = self.reason.error(publish, in_flight, expiry, server_limits)
            {
                accounting.answer(publish, Err(error));
            }
            // In flight it leaves when nsqd responds to its command.
            let stays = in_flight || publish.reply.is_some();
            if !stays {
                accounting.release_one(publish);
            }
            stays
        });
        Position::Queue { index, block }
    }

    fn visit_line<R: Reply>(
        &self,
        number: usize,
        block: usize,
        parts: &mut Parts<'_, R>,
    ) -> Position {
        let Parts {
            admission,
            accounting,
            expiry,
            server_limits,
            ..
        } = parts;
        let Some(line) = admission.line(number).filter(|line| block < line.blocks()) else {
            admission.on_visited(number);
            return Position::Line {
                number: number + 1,
                block: 0,
            };
        };
        let block = line.retain_block(block, |waiter, _| {
            if waiter.is_cancelled() {
                return false;
            }
            if let Some(cause) = self.reason.waiter_cause(waiter, expiry, server_limits)
                && let Some(reply) = waiter.reply.take()
            {
                accounting.reject(reply, cause);
            }
            waiter.reply.is_some()
        });
        Position::Line { number, block }
    }
}

impl Reason {
    /// The error of a publish that is answered.
    fn error<R: Reply>(
        &self,
        publish: &Pending<R>,
        in_flight: bool,
        expiry: &mut Expiry,
        server_limits: &ServerLimits,
    ) -> Option<PublishError> {
        let (cause, delivery) = match self {
            Self::Expired { due, last } => {
                if !expiry.has_passed(publish.deadline, *due) {
                    return None;
                }
                let cause = publish.timeout_cause(in_flight, last.as_ref());
                (cause, publish.delivery(in_flight))
            }
            Self::Undeliverable | Self::Cancelled if in_flight => return None,
            Self::Undeliverable => {
                let cause = publish.undeliverable(server_limits)?;
                (cause, publish.not_written())
            }
            Self::Cancelled => {
                let cause = publish.is_cancelled().then_some(Cause::Closed)?;
                (cause, publish.not_written())
            }
            Self::Rejected(rejection, topic) => {
                let is_concerned = topic.as_ref().is_none_or(|topic| *topic == publish.topic);
                return is_concerned.then(|| rejection.error(publish));
            }
            Self::Closed(cause) => (cause.clone(), publish.delivery(in_flight)),
        };
        Some(PublishError::new(cause, delivery))
    }

    /// Why a publish that waits for capacity is answered. It was never written.
    fn waiter_cause<R: Reply>(
        &self,
        waiter: &Waiter<R>,
        expiry: &mut Expiry,
        server_limits: &ServerLimits,
    ) -> Option<Cause> {
        let transaction = &waiter.transaction;
        match self {
            Self::Expired { due, last } => {
                let has_passed = expiry.has_passed(waiter.deadline(), *due);
                has_passed.then(|| Cause::NotSent {
                    after: transaction.timeout,
                    last: last.clone(),
                })
            }
            Self::Undeliverable => server_limits.exceeded_by(&transaction.payload),
            Self::Cancelled => None,
            Self::Rejected(rejection, topic) => {
                let is_concerned = topic
                    .as_ref()
                    .is_none_or(|topic| *topic == transaction.topic);
                is_concerned.then(|| rejection.cause())
            }
            Self::Closed(cause) => Some(cause.clone()),
        }
    }
}
