//! How a publish enters the queue: in the reply to its message, which is given the caller's sender.

use std::{
    cell::RefCell,
    fmt,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{
    Actor, Message,
    dev::{MessageResponse, OneshotSender},
};

use super::{
    failures::{FailureSink, ReplyTo},
    message::{AnyPublish, PublishRequest},
    queue::{Reply, Transaction, WhenFull},
    session::Queue,
};
use crate::error::PublishError;

/// Publishes with backpressure: if the queue is full, the publish waits for capacity.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), PublishError>")]
pub(crate) struct PublishWhenPossible(pub(crate) AnyPublish);

/// What the producer shares with the replies that it has given out.
pub(crate) struct Shared {
    pub(crate) queue: RefCell<Queue>,
    pub(crate) failures: Arc<FailureSink>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Reply to a message that publishes: it enters the queue together with its sender, which actix
/// provides only after the handler has returned.
///
/// Senders of messages do not see it: `addr.send(publish)` returns a `Result<(), PublishError>`.
pub struct PublishReply {
    pub(crate) shared: Rc<Shared>,
    pub(crate) request: PublishRequest,
    pub(crate) rejected: Option<PublishError>,
    pub(crate) when_full: WhenFull,
    pub(crate) timeout: Duration,
    pub(crate) now: Instant,
}

impl<A, M> MessageResponse<A, M> for PublishReply
where
    A: Actor,
    M: Message<Result = Result<(), PublishError>>,
{
    fn handle(self, _: &mut A::Context, sender: Option<OneshotSender<M::Result>>) {
        let Self {
            shared,
            request,
            rejected,
            when_full,
            timeout,
            now,
        } = self;
        let reply = match sender {
            Some(sender) => ReplyTo::Caller(sender),
            None => ReplyTo::detached(&shared.failures, &request),
        };
        let PublishRequest { topic, payload, .. } = request;
        match (rejected, topic) {
            (Some(error), _) => reply.answer(Err(error)),
            (None, Err(error)) => reply.answer(Err(error.into())),
            (None, Ok(topic)) => {
                let transaction = Transaction {
                    topic,
                    payload,
                    timeout,
                };
                shared
                    .queue
                    .borrow_mut()
                    .push(transaction, when_full, now, reply);
            }
        }
    }
}

impl fmt::Debug for PublishReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishReply").finish_non_exhaustive()
    }
}
