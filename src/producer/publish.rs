//! How a publish enters the queue: in the reply to its message, which is given the caller's sender,
//! or together with others that a handle submitted.

use std::{
    cell::RefCell,
    fmt, mem,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{
    Actor, AsyncContext, Context, Handler, Message,
    dev::{MessageResponse, OneshotSender},
};

use super::{
    failures::{FailureSink, ReplyTo},
    message::PublishRequest,
    queue::{Reply, Transaction, WhenFull},
    session::Queue,
    submissions::{Submission, SubmissionList, Submitted},
};
use crate::{
    error::PublishError,
    link::{BURST, Pumped, flush, work},
};

/// What the producer shares with the replies that it has given out.
pub(crate) struct Shared {
    pub(crate) queue: RefCell<Queue>,
    pub(crate) failures: Arc<FailureSink>,
    pub(crate) publish_timeout: Duration,
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
    pub(crate) now: Instant,
}

impl PublishReply {
    /// Puts the publish into the queue, or answers it if it was rejected.
    #[inline]
    fn enqueue(self, reply: ReplyTo) {
        let timeout = self.request.timeout(self.shared.publish_timeout);
        let PublishRequest { topic, payload, .. } = self.request;
        match (self.rejected, topic) {
            (Some(error), _) => reply.answer(Err(error)),
            (None, Err(error)) => reply.answer(Err(error.into())),
            (None, Ok(topic)) => {
                let transaction = Transaction {
                    topic,
                    payload,
                    timeout,
                };
                let mut queue = self.shared.queue.borrow_mut();
                queue.push(transaction, self.when_full, self.now, reply);
            }
        }
    }
}

impl<A, M> MessageResponse<A, M> for PublishReply
where
    A: Actor,
    M: Message<Result = Result<(), PublishError>>,
{
    fn handle(self, _: &mut A::Context, sender: Option<OneshotSender<M::Result>>) {
        let reply = match sender {
            Some(sender) => ReplyTo::Caller(sender),
            None => ReplyTo::detached(&self.shared.failures, &self.request),
        };
        self.enqueue(reply);
    }
}

impl fmt::Debug for PublishReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishReply").finish_non_exhaustive()
    }
}

/// An actor that accepts publishes into a queue: a producer or a pool.
pub(crate) trait Accept: Pumped {
    fn submissions(&mut self) -> &mut SubmissionList;

    /// Checks a publish that arrived at `now`.
    fn accept(
        &mut self,
        request: PublishRequest,
        when_full: WhenFull,
        now: Instant,
        ctx: &mut Context<Self>,
    ) -> PublishReply;
}

/// Accepts all publishes that were submitted, before the next message is handled: in several bursts
/// if there are many.
pub(crate) fn accept_submitted<A: Accept>(actor: &mut A, ctx: &mut Context<A>) {
    actor.on_message(ctx);
    actor.submissions().take();
    work(actor, ctx, |actor, ctx| {
        let now = actor.burst().now();
        let mut taken = mem::take(&mut actor.submissions().taken);
        let count = taken.len().min(BURST);
        for Submission { request, reply } in taken.drain(..count) {
            if !reply.is_closed() {
                let publish = actor.accept(request, WhenFull::Wait, now, ctx);
                publish.enqueue(ReplyTo::Submitter(reply));
            }
        }
        let is_complete = taken.is_empty();
        actor.submissions().taken = taken;
        actor.burst().count(count);
        if is_complete {
            actor.submissions().shrink();
        } else {
            flush(actor, ctx);
        }
        is_complete
    });
}

/// Goes on to accept what was taken from the list when the actor restarted.
pub(crate) fn accept_after_restart<A>(actor: &mut A, ctx: &mut Context<A>)
where
    A: Accept + Handler<Submitted>,
{
    if !actor.submissions().taken.is_empty() {
        ctx.address().do_send(Submitted);
    }
}
