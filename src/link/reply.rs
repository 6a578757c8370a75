//! A reply that is sent after the handler has returned.

use std::fmt;

use actix::{
    Actor, Message,
    dev::{MessageResponse, OneshotSender},
};

/// Reply of a handler that answers its message later, for example when a connection is up or a
/// drain has ended.
///
/// Senders of messages do not see it: `addr.send(message)` returns the message's result.
pub struct DeferredReply<T>(Reply<T>);

enum Reply<T> {
    Now(T),
    Later(Box<dyn FnOnce(Option<OneshotSender<T>>)>),
}

impl<T> DeferredReply<T> {
    /// Replies at once.
    pub(crate) fn now(value: T) -> Self {
        Self(Reply::Now(value))
    }

    /// Passes the sender of the reply to `keep`; `None` if the message was sent by `do_send`.
    pub(crate) fn later(keep: impl FnOnce(Option<OneshotSender<T>>) + 'static) -> Self {
        Self(Reply::Later(Box::new(keep)))
    }
}

impl<A: Actor, M: Message> MessageResponse<A, M> for DeferredReply<M::Result> {
    fn handle(self, _: &mut A::Context, sender: Option<OneshotSender<M::Result>>) {
        match (self.0, sender) {
            (Reply::Later(keep), sender) => keep(sender),
            // Fails if the caller has dropped its request.
            (Reply::Now(value), Some(sender)) => drop(sender.send(value)),
            (Reply::Now(_), None) => {}
        }
    }
}

impl<T> fmt::Debug for DeferredReply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferredReply").finish_non_exhaustive()
    }
}
