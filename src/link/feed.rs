//! Messages on their way to a subscriber.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use actix::{Message, Recipient, prelude::SendError};
use tokio::time::{Sleep, sleep};

use crate::conn::wake_deferred;

/// How often a full mailbox is tried again that did not accept a message the last time.
const RETRY: Duration = Duration::from_millis(10);

/// The messages for which a subscriber's mailbox has no capacity wait here, where they are bounded.
/// [`poll`](Self::poll) passes them on as the subscriber handles those before.
pub(crate) struct Feed<M: Message<Result = ()> + Send + 'static> {
    to: Recipient<M>,
    /// Each with its size in bytes.
    waiting: VecDeque<(M, usize)>,
    bytes: usize,
    max_messages: usize,
    max_bytes: usize,
    /// The last poll passed nothing on.
    is_stalled: bool,
    retry: Option<Pin<Box<Sleep>>>,
}

impl<M: Message<Result = ()> + Send + 'static> Feed<M> {
    /// At most this many messages and bytes wait. A single message is always allowed.
    pub(crate) fn new(to: Recipient<M>, max_messages: usize, max_bytes: usize) -> Self {
        Self {
            to,
            waiting: VecDeque::new(),
            bytes: 0,
            max_messages,
            max_bytes,
            is_stalled: false,
            retry: None,
        }
    }

    pub(crate) fn recipient(&self) -> &Recipient<M> {
        &self.to
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.to.connected()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends a message of this size in bytes, now or later. Without a subscriber it is dropped.
    ///
    /// # Errors
    ///
    /// The message, if it does not fit.
    pub(crate) fn send(&mut self, message: M, size: usize) -> Result<(), M> {
        let message = if self.is_empty() {
            match self.to.try_send(message) {
                Ok(()) | Err(SendError::Closed(_)) => return Ok(()),
                Err(SendError::Full(message)) => message,
            }
        } else {
            message
        };
        let bytes = self.bytes.saturating_add(size);
        let fits = self.waiting.len() < self.max_messages && bytes <= self.max_bytes;
        if !fits && !self.is_empty() {
            return Err(message);
        }
        self.bytes = bytes;
        self.waiting.push_back((message, size));
        Ok(())
    }

    /// Removes the oldest message that waits.
    pub(crate) fn drop_oldest(&mut self) {
        if let Some((_, size)) = self.waiting.pop_front() {
            self.bytes = self.bytes.saturating_sub(size);
        }
    }

    /// Passes messages on, and wakes the task of `cx` to do so again if some are left: soon if the
    /// subscriber makes progress.
    pub(crate) fn poll(&mut self, cx: &mut TaskContext<'_>) {
        let mut has_progress = false;
        while let Some((message, size)) = self.waiting.pop_front() {
            if let Err(SendError::Full(message)) = self.to.try_send(message) {
                self.waiting.push_front((message, size));
                break;
            }
            self.bytes = self.bytes.saturating_sub(size);
            has_progress = true;
        }
        let was_stalled = std::mem::replace(&mut self.is_stalled, !has_progress);
        if self.is_empty() {
            self.is_stalled = false;
            self.retry = None;
        } else if has_progress || !was_stalled {
            self.retry = None;
            wake_deferred(cx);
        } else {
            let retry = self.retry.get_or_insert_with(|| Box::pin(sleep(RETRY)));
            if let Poll::Ready(()) = retry.as_mut().poll(cx) {
                self.retry = None;
                wake_deferred(cx);
            }
        }
    }
}

/// The last messages of an actor that ends are not lost.
impl<M: Message<Result = ()> + Send + 'static> Drop for Feed<M> {
    fn drop(&mut self) {
        for (message, _) in self.waiting.drain(..) {
            self.to.do_send(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::poll_fn, rc::Rc};

    use actix::{Actor, AsyncContext, Context, Handler, WrapFuture};
    use tokio::{sync::Notify, task::yield_now};

    use super::*;

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Number(u32);

    /// Handles nothing until it is released.
    struct Slow {
        release: Rc<Notify>,
        handled: Rc<RefCell<Vec<u32>>>,
    }

    impl Actor for Slow {
        type Context = Context<Self>;

        fn started(&mut self, ctx: &mut Context<Self>) {
            let release = Rc::clone(&self.release);
            ctx.wait(async move { release.notified().await }.into_actor(self));
        }
    }

    impl Handler<Number> for Slow {
        type Result = ();

        fn handle(&mut self, Number(number): Number, _: &mut Context<Self>) {
            self.handled.borrow_mut().push(number);
        }
    }

    #[actix::test]
    async fn messages_wait_in_order_for_a_full_mailbox() {
        let (release, handled) = (Rc::new(Notify::new()), Rc::default());
        let slow = Slow {
            release: Rc::clone(&release),
            handled: Rc::clone(&handled),
        };
        let mut feed = Feed::new(slow.start().recipient(), 10, usize::MAX);
        yield_now().await;
        let mut accepted: Vec<_> = (0..100)
            .filter(|n| feed.send(Number(*n), 1).is_ok())
            .collect();
        assert!((25..=27).contains(&accepted.len()), "{}", accepted.len());
        feed.drop_oldest();
        accepted.remove(accepted.len() - 10);
        release.notify_one();
        poll_fn(|cx| {
            feed.poll(cx);
            if feed.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        while handled.borrow().len() < accepted.len() {
            yield_now().await;
        }
        assert_eq!(*handled.borrow(), accepted);
    }
}
