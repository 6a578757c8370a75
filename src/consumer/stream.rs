//! Messages as a stream.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context as TaskContext, Poll, ready},
    vec,
};

use futures::Stream;
use tokio::sync::mpsc;

use super::incoming::{IncomingMessage, IncomingMessages};
use crate::link::now;

/// The messages of a consumer as a [`Stream`]. Made by
/// [`MessageHandler::stream`](crate::MessageHandler::stream).
///
/// It ends when the consumer is drained or has ended. Dropping it returns the messages in it, and
/// pauses the consumer. A [`Drain`](super::Drain) waits for the messages in it: read it to its end
/// meanwhile, or drop it before. Messages whose deadline has passed are skipped: nsqd delivers them
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
pub struct MessageStream {
    batches: mpsc::UnboundedReceiver<IncomingMessages>,
    current: vec::IntoIter<IncomingMessage>,
}

impl MessageStream {
    pub(super) fn new(batches: mpsc::UnboundedReceiver<IncomingMessages>) -> Self {
        Self {
            batches,
            current: Vec::new().into_iter(),
        }
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
            if let Some(message) = self.current.next() {
                if now() < message.deadline() {
                    return Poll::Ready(Some(message));
                }
                message.give_back();
                continue;
            }
            match ready!(self.batches.poll_recv(cx)) {
                Some(batch) => self.current = batch.into_iter(),
                None => return Poll::Ready(None),
            }
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
        self.batches.close();
        let current = std::mem::take(&mut self.current);
        current.for_each(IncomingMessage::give_back);
        while let Ok(batch) = self.batches.try_recv() {
            batch.into_iter().for_each(IncomingMessage::give_back);
        }
    }
}

impl fmt::Debug for MessageStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageStream").finish_non_exhaustive()
    }
}
