//! Who handles messages: an actor, an async closure, or a stream.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use actix::Recipient;
use futures::{
    FutureExt, StreamExt,
    future::{LocalBoxFuture, ready},
    stream::FuturesUnordered,
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{
    answers::Answer,
    incoming::{IncomingMessage, IncomingMessages, Settler},
    log::LimitedLog,
    requeue::Requeue,
    stream::{MessageStream, StreamQueue},
};

/// The handler of the messages of a [`Consumer`](crate::Consumer):
///
/// - an actor, one message at a time: its `Recipient<IncomingMessage>`, which is
///   `address.recipient::<IncomingMessage>()`;
/// - an actor, the messages of a read at a time: its `Recipient<IncomingMessages>`;
/// - an async closure: [`from_fn`](Self::from_fn), or [`json`](Self::json) with a typed body;
/// - a [`MessageStream`]: [`stream`](Self::stream).
pub struct MessageHandler(Kind);

enum Kind {
    Each(Recipient<IncomingMessage>),
    Batches(Recipient<IncomingMessages>),
    Closure(Box<Start>),
    Stream(StreamQueue),
}

/// Starts the future of a message, with the maximum time that it may take.
type Start = dyn FnMut(IncomingMessage, Option<Duration>) -> Started + Send;

/// The future of a message, or a message that cannot be read.
type Started = Result<LocalBoxFuture<'static, ()>, Box<Unreadable>>;

/// A message whose body is not the JSON of the handler's type.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) message: IncomingMessage,
    pub(super) error: serde_json::Error,
}

impl MessageHandler {
    /// Handles messages with an async closure, on the consumer's arbiter. Its result answers the
    /// message: `Ok` finishes it, `Err` requeues it as a failure, and so does a panic. The closure
    /// can answer the message in another way before; the first answer counts. The consumer logs
    /// errors and panics at the level `warn`: ten at once, and then one a minute; the others at
    /// `debug`.
    ///
    /// The futures of several messages run at the same time: as many as the option `concurrency`
    /// allows.
    ///
    /// ```no_run
    /// use actix_nsq::{Consumer, ConsumerConfig, IncomingMessage, MessageHandler, Subscription};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// async fn handle(message: IncomingMessage) -> Result<(), std::str::Utf8Error> {
    ///     println!("{}", std::str::from_utf8(message.body())?);
    ///     Ok(())
    /// }
    ///
    /// let config = ConsumerConfig::new("127.0.0.1:4150")?;
    /// let subscription = Subscription::new("orders", "billing")?;
    /// let consumer = Consumer::start(config, subscription, MessageHandler::from_fn(handle));
    /// # drop(consumer);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_fn<F, R, E>(mut handle: F) -> Self
    where
        F: FnMut(IncomingMessage) -> R + Send + 'static,
        R: Future<Output = Result<(), E>> + 'static,
        E: fmt::Display + 'static,
    {
        let failures = LimitedLog::default();
        Self(Kind::Closure(Box::new(move |message, limit| {
            Ok(start(&mut handle, message, limit, &failures))
        })))
    }

    /// Handles messages like [`from_fn`](Self::from_fn), with the body read as JSON.
    ///
    /// A message whose body is not the JSON of a `T` goes to the recipient of
    /// [dead letters](super::Subscription::dead_letters) at once. If there is none, it is requeued
    /// as a failure, with a warning: it comes again, after a growing delay. Both are counted as
    /// [`unreadable`](super::Counters::unreadable).
    ///
    /// ```
    /// use actix_nsq::{IncomingMessage, MessageHandler};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Order {
    ///     id: u64,
    /// }
    ///
    /// async fn handle(order: Order, message: IncomingMessage) -> Result<(), std::io::Error> {
    ///     println!("order {}, attempt {}", order.id, message.attempts());
    ///     Ok(())
    /// }
    ///
    /// let handler = MessageHandler::json(handle);
    /// # drop(handler);
    /// ```
    pub fn json<T, F, R, E>(mut handle: F) -> Self
    where
        T: DeserializeOwned,
        F: FnMut(T, IncomingMessage) -> R + Send + 'static,
        R: Future<Output = Result<(), E>> + 'static,
        E: fmt::Display + 'static,
    {
        let failures = LimitedLog::default();
        Self(Kind::Closure(Box::new(move |message, limit| {
            match catch_unwind(AssertUnwindSafe(|| message.json())) {
                Ok(Ok(value)) => {
                    let handle = |message| handle(value, message);
                    Ok(start(handle, message, limit, &failures))
                }
                Ok(Err(error)) => Err(Box::new(Unreadable { message, error })),
                // The message is dropped, which requeues it.
                Err(_) => Ok(Box::pin(ready(()))),
            }
        })))
    }

    /// Returns a handler that passes messages on to the stream beside it.
    pub fn stream() -> (Self, MessageStream) {
        let queue = StreamQueue::default();
        (Self(Kind::Stream(queue.clone())), MessageStream::new(queue))
    }
}

/// Starts the future of a message.
fn start<R, E>(
    handle: impl FnOnce(IncomingMessage) -> R,
    mut message: IncomingMessage,
    limit: Option<Duration>,
    failures: &LimitedLog,
) -> LocalBoxFuture<'static, ()>
where
    R: Future<Output = Result<(), E>> + 'static,
    E: fmt::Display + 'static,
{
    let settler = message.split_settler();
    // After a panic `settler` requeues the message.
    match catch_unwind(AssertUnwindSafe(|| handle(message))) {
        Ok(future) => Box::pin(run(future, limit, settler, failures.clone())),
        Err(_) => {
            failures.warn(format_args!("{settler} failed: the handler panicked"));
            Box::pin(ready(()))
        }
    }
}

/// Runs the future of a message to its end, and answers the message.
async fn run<E: fmt::Display>(
    future: impl Future<Output = Result<(), E>>,
    limit: Option<Duration>,
    settler: Settler,
    failures: LimitedLog,
) {
    let future = AssertUnwindSafe(future).catch_unwind();
    let ended = match limit {
        Some(limit) => match timeout(limit, future).await {
            Ok(ended) => ended,
            Err(_) => return settler.settle(Answer::TimedOut),
        },
        None => future.await,
    };
    match ended {
        Ok(Ok(())) => settler.settle(Answer::Finish),
        Ok(Err(error)) => {
            failures.warn(format_args!("{settler} failed: {error}"));
            settler.settle(Answer::Requeue(Requeue::default()));
        }
        Err(_) => failures.warn(format_args!("{settler} failed: the handler panicked")),
    }
}

impl From<Recipient<IncomingMessage>> for MessageHandler {
    fn from(recipient: Recipient<IncomingMessage>) -> Self {
        Self(Kind::Each(recipient))
    }
}

impl From<Recipient<IncomingMessages>> for MessageHandler {
    fn from(recipient: Recipient<IncomingMessages>) -> Self {
        Self(Kind::Batches(recipient))
    }
}

impl fmt::Debug for MessageHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Each(_) => "MessageHandler(Recipient<IncomingMessage>)",
            Kind::Batches(_) => "MessageHandler(Recipient<IncomingMessages>)",
            Kind::Closure(_) => "MessageHandler(closure)",
            Kind::Stream(_) => "MessageHandler(MessageStream)",
        })
    }
}

/// Passes messages to their handler.
pub(super) struct Delivery {
    handler: MessageHandler,
    /// The maximum time of a closure's future.
    limit: Option<Duration>,
    /// The futures of a closure.
    running: FuturesUnordered<LocalBoxFuture<'static, ()>>,
    batch: Vec<IncomingMessage>,
}

impl Delivery {
    pub(super) fn new(handler: MessageHandler, limit: Option<Duration>) -> Self {
        Self {
            handler,
            limit,
            running: FuturesUnordered::new(),
            batch: Vec::new(),
        }
    }

    /// Whether the handler still exists.
    pub(super) fn is_connected(&self) -> bool {
        match &self.handler.0 {
            Kind::Each(recipient) => recipient.connected(),
            Kind::Batches(recipient) => recipient.connected(),
            Kind::Closure(_) => true,
            Kind::Stream(queue) => !queue.is_dropped(),
        }
    }

    /// Passes a message on, at [`end_batch`](Self::end_batch) at the latest. If the handler is
    /// gone, the message is dropped, which requeues it.
    ///
    /// # Errors
    ///
    /// The message if the handler cannot read it.
    pub(super) fn deliver(&mut self, message: IncomingMessage) -> Result<(), Box<Unreadable>> {
        match &mut self.handler.0 {
            Kind::Each(recipient) => recipient.do_send(message),
            Kind::Closure(start) => self.running.push(start(message, self.limit)?),
            Kind::Batches(_) | Kind::Stream(_) => self.batch.push(message),
        }
        Ok(())
    }

    /// The futures of a closure that have not ended. They may have answered their messages.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether messages are passed on many at a time.
    pub(super) fn takes_batches(&self) -> bool {
        matches!(self.handler.0, Kind::Batches(_) | Kind::Stream(_))
    }

    pub(super) fn end_batch(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.deliver_batch(batch);
    }

    /// Passes messages on to a handler that [takes batches](Self::takes_batches).
    pub(super) fn deliver_batch(&mut self, messages: Vec<IncomingMessage>) {
        if messages.is_empty() {
            return;
        }
        let batch = IncomingMessages(messages);
        match &self.handler.0 {
            Kind::Batches(recipient) => recipient.do_send(batch),
            Kind::Stream(queue) => queue.push(batch),
            Kind::Each(_) | Kind::Closure(_) => {}
        }
    }

    /// Returns the messages that were not taken from the stream.
    pub(super) fn take_back(&self) {
        if let Kind::Stream(queue) = &self.handler.0 {
            queue.take_back();
        }
    }

    /// Runs the futures of a closure.
    pub(super) fn poll(&mut self, cx: &mut TaskContext<'_>) {
        while let Poll::Ready(Some(())) = self.running.poll_next_unpin(cx) {}
    }

    /// Drops the futures of a closure, and ends the stream.
    pub(super) fn end(&mut self) {
        self.running = FuturesUnordered::new();
        if let Kind::Stream(queue) = &self.handler.0 {
            queue.end();
        }
    }
}
