//! Messages as a stream.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context as TaskContext, Poll, Waker},
};

use futures::Stream;

use super::incoming::{IncomingMessage, IncomingMessages};
use crate::link::now;

/// What a consumer has passed to its stream. A channel would not let the consumer take messages
/// back.
#[derive(Clone, Default)]
pub(super) struct StreamQueue(Arc<Mutex<Queued>>);

#[derive(Default)]
struct Queued {
    messages: VecDeque<IncomingMessage>,
    waker: Option<Waker>,
    /// The consumer passes nothing more on.
    is_ended: bool,
    /// The stream does not exist any more.
    is_dropped: bool,
}

impl StreamQueue {
    /// Nothing that is done under the lock panics, or drops a message.
    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.lock().is_dropped
    }

    /// Passes messages on, or returns them if the stream does not exist any more.
    pub(super) fn push(&self, IncomingMessages(messages): IncomingMessages) {
        let mut queued = self.lock();
        if queued.is_dropped {
            drop(queued);
            return messages.into_iter().for_each(IncomingMessage::give_back);
        }
        queued.messages.extend(messages);
        let waker = queued.waker.take();
        drop(queued);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns the messages that were not taken from the stream.
    pub(super) fn take_back(&self) {
        let messages = mem::take(&mut self.lock().messages);
        messages.into_iter().for_each(IncomingMessage::give_back);
    }

    /// Ends the stream behind the messages in it.
    pub(super) fn end(&self) {
        let mut queued = self.lock();
        queued.is_ended = true;
        let waker = queued.waker.take();
        drop(queued);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The messages of a consumer as a [`Stream`]. Made by
/// [`MessageHandler::stream`](crate::MessageHandler::stream).
///
/// It ends when the consumer is drained or has ended. A [`Drain`](super::Drain) returns the
/// messages in it, and waits for those that were taken from it. Dropping it returns the messages in
/// it, and pauses the consumer. Messages whose deadline has passed are skipped: nsqd delivers them
/// again.
///
/// ```no_run
/// use actix_nsq::{Consumer, ConsumerConfig, MessageHandler, Subscription};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let config = ConsumerConfig::new("127.0.0.1:4150")?;
/// let subscription = Subscription::new("orders", "billing")?;
/// let (handler, mut messages) = MessageHandler::stream();
/// let consumer = Consumer::start(config, subscription, handler);
/// while let Some(message) = messages.next().await {
///     println!("{} bytes", message.body().len());
///     message.finish()?;
/// }
/// # drop(consumer);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it pauses the consumer"]
pub struct MessageStream(StreamQueue);

impl MessageStream {
    pub(super) fn new(queue: StreamQueue) -> Self {
        Self(queue)
    }

    /// Returns the next message, or `None` when the consumer is drained or has ended.
    ///
    /// # Cancel safety
    ///
    /// No message is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<IncomingMessage> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<IncomingMessage>> {
        loop {
            let mut queued = self.0.lock();
            let Some(message) = queued.messages.pop_front() else {
                if queued.is_ended {
                    return Poll::Ready(None);
                }
                queued.waker = Some(cx.waker().clone());
                return Poll::Pending;
            };
            drop(queued);
            if now() < message.deadline() {
                return Poll::Ready(Some(message));
            }
            message.give_back();
        }
    }
}

impl Stream for MessageStream {
    type Item = IncomingMessage;

    fn poll_next(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(cx)
    }
}

/// Returns the messages in it: no handler has had them.
impl Drop for MessageStream {
    fn drop(&mut self) {
        self.0.lock().is_dropped = true;
        self.0.take_back();
    }
}

impl fmt::Debug for MessageStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageStream").finish_non_exhaustive()
    }
}
