//! Messages on their way to handlers: each is answered once.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix::Message as ActixMessage;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{
    answers::{Answer, AnswerQueue, Source, nanoseconds},
    in_flight::Ticket,
    requeue::Requeue,
};
use crate::{
    error::AnswerError,
    link::now,
    protocol::{Channel, Message, MessageId, Topic},
};

/// A message from nsqd, and the right to answer it once, from any thread.
///
/// [`finish`](Self::finish) it when it is done. [`requeue`](Self::requeue) it if it is to be
/// delivered again. A message that is dropped without an answer is requeued as a failure: after a
/// panic, if a future is cancelled, if an actor stops. nsqd delivers a message again that has no
/// answer at its [`deadline`](Self::deadline).
///
/// ```
/// use actix::prelude::*;
/// use actix_nsq::IncomingMessage;
///
/// struct Worker;
///
/// impl Actor for Worker {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<IncomingMessage> for Worker {
///     type Result = ();
///
///     fn handle(&mut self, message: IncomingMessage, _: &mut Context<Self>) {
///         let done = std::str::from_utf8(message.body()).map(|text| println!("{text}"));
///         message.settle(done);
///     }
/// }
/// ```
#[must_use = "a message that is dropped is requeued"]
pub struct IncomingMessage {
    timestamp: i64,
    attempts: u16,
    id: MessageId,
    body: Bytes,
    source: Arc<Source>,
    ticket: Ticket,
    received: Instant,
    /// Nanoseconds from receipt to the deadline.
    timeout: AtomicU64,
    /// Dropping the message requeues it.
    answers_on_drop: bool,
}

impl ActixMessage for IncomingMessage {
    type Result = ();
}

impl IncomingMessage {
    /// A message that waits: dropping it does nothing before it is started.
    #[inline(always)]
    pub(super) fn waiting(
        message: Message,
        source: Arc<Source>,
        ticket: Ticket,
        received: Instant,
    ) -> Self {
        let timeout = AtomicU64::new(source.first_timeout);
        let Message {
            timestamp,
            attempts,
            id,
            body,
        } = message;
        Self {
            timestamp,
            attempts,
            id,
            body,
            source,
            ticket,
            received,
            timeout,
            answers_on_drop: false,
        }
    }

    /// It is passed on. A copy that came later was received then, with one more attempt.
    pub(super) fn start(&mut self, attempts: u16, received: Instant) {
        self.attempts = attempts;
        self.received = received;
        self.answers_on_drop = true;
    }

    pub(super) fn is_started(&self) -> bool {
        self.answers_on_drop
    }

    /// It is answered without the queue.
    pub(super) fn end(&mut self) {
        self.answers_on_drop = false;
    }

    pub(super) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// A message of no consumer, for tests. Its answers stay in the queue.
    pub(crate) fn detached(
        message: Message,
        (topic, channel): (Topic, Channel),
        answers: Arc<AnswerQueue>,
    ) -> Self {
        let address = "127.0.0.1:4150".into();
        let times = (Duration::from_secs(60), Duration::from_secs(900));
        let source = Source::new(address, topic, channel, answers, times, false);
        let attempts = message.attempts;
        let mut it = Self::waiting(message, Arc::new(source), Ticket::DETACHED, now());
        it.start(attempts, it.received);
        it
    }

    /// Returns the body. It shares the memory of the read that it came with: to keep a small part
    /// for long, copy it.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    ///
    /// The error of `serde_json` if the body is not such JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.body())
    }

    /// Returns the id, which is unique within the topic of one nsqd.
    #[must_use]
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// Returns when nsqd received the message: nanoseconds since the Unix epoch, by nsqd's clock.
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// Returns the number of deliveries including this one, starting at 1. nsqd's counter wraps
    /// after 65535.
    #[must_use]
    pub fn attempts(&self) -> u16 {
        self.attempts
    }

    /// Returns the address of the nsqd that delivered the message, as it was configured.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.source.address
    }

    /// Returns the topic.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.source.topic
    }

    /// Returns the channel.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.source.channel
    }

    /// Returns until when the message must be answered; later nsqd delivers it again. With the
    /// option `auto_touch` it is the latest time to which the consumer extends it.
    ///
    /// It is earlier than nsqd's own deadline, which begins when nsqd sends the message: by the
    /// time that the message can spend on its way.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.received + Duration::from_nanos(self.timeout.load(Ordering::Relaxed))
    }

    /// Finishes the message (FIN): it is done, and nsqd discards it.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] if nsqd delivers the message again, or has done so.
    pub fn finish(self) -> Result<(), AnswerError> {
        self.answer(Answer::Finish)
    }

    /// Requeues the message (REQ): nsqd delivers it again.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] if nsqd delivers the message again without this request, or has done so.
    pub fn requeue(self, requeue: Requeue) -> Result<(), AnswerError> {
        self.answer(Answer::Requeue(requeue))
    }

    /// Finishes the message if the result is `Ok`, and requeues it as a failure otherwise. An
    /// answer without effect is counted in the [statistics](crate::consumer::Stats).
    pub fn settle<T, E>(mut self, result: Result<T, E>) {
        let answer = match result {
            Ok(_) => Answer::Finish,
            Err(_) => Answer::Requeue(Requeue::default()),
        };
        // The consumer counts it, by its own clock.
        self.push(answer);
    }

    /// Extends the deadline by `msg_timeout` from now (TOUCH), at most to nsqd's
    /// `--max-msg-timeout` after the delivery.
    ///
    /// # Errors
    ///
    /// [`AnswerError`] if it is too late.
    pub fn touch(&self) -> Result<(), AnswerError> {
        self.check()?;
        if !self.source.answers.push(self.ticket, Answer::Touch) {
            return Err(AnswerError::Closed);
        }
        let timeout = now().saturating_duration_since(self.received) + self.source.timeout;
        let timeout = nanoseconds(timeout.min(self.source.max_timeout));
        self.timeout.fetch_max(timeout, Ordering::Relaxed);
        Ok(())
    }

    /// Returns a message that no handler has had.
    pub(super) fn give_back(mut self) {
        self.push(Answer::Return);
    }

    fn check(&self) -> Result<(), AnswerError> {
        if self.source.is_lost() {
            return Err(AnswerError::ConnectionLost);
        }
        if now() >= self.deadline() {
            return Err(AnswerError::Expired);
        }
        Ok(())
    }

    fn answer(mut self, answer: Answer) -> Result<(), AnswerError> {
        let checked = self.check();
        // The consumer decides what is written: a late FIN is.
        if self.push(answer) {
            checked
        } else {
            Err(AnswerError::Closed)
        }
    }

    /// Answers the message. Returns whether the consumer still exists.
    fn push(&mut self, answer: Answer) -> bool {
        self.answers_on_drop = false;
        self.source.answers.push(self.ticket, answer)
    }

    /// Gives the right to answer when a future has ended to another value. The message can still
    /// be answered before; dropping it does nothing.
    pub(super) fn split_settler(&mut self) -> Settler {
        self.answers_on_drop = false;
        Settler {
            source: Arc::clone(&self.source),
            ticket: self.ticket,
            id: self.id,
            answer: Answer::Dropped,
        }
    }
}

/// An unanswered message is requeued.
impl Drop for IncomingMessage {
    fn drop(&mut self) {
        if self.answers_on_drop {
            self.source.answers.push(self.ticket, Answer::Dropped);
        }
    }
}

/// The body may be large and private, so only its length is shown.
impl fmt::Debug for IncomingMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingMessage")
            .field("topic", self.topic())
            .field("channel", self.channel())
            .field("address", &self.source.address)
            .field("id", &self.id)
            .field("timestamp", &self.timestamp)
            .field("attempts", &self.attempts)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Answers a message when it is dropped, unless the message was answered before.
pub(super) struct Settler {
    source: Arc<Source>,
    ticket: Ticket,
    id: MessageId,
    answer: Answer,
}

impl Settler {
    pub(super) fn settle(mut self, answer: Answer) {
        self.answer = answer;
    }
}

impl fmt::Display for Settler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: message {}", self.source.address, self.id)
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        self.source.answers.push(self.ticket, self.answer);
    }
}

/// The messages of one read from nsqd, for a handler that treats many at once. Each is answered by
/// itself.
///
/// ```
/// use actix::prelude::*;
/// use actix_nsq::IncomingMessages;
///
/// struct Worker;
///
/// impl Actor for Worker {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<IncomingMessages> for Worker {
///     type Result = ();
///
///     fn handle(&mut self, messages: IncomingMessages, _: &mut Context<Self>) {
///         for message in messages {
///             println!("{} bytes", message.body().len());
///             message.settle(Ok::<_, ()>(()));
///         }
///     }
/// }
/// ```
#[derive(Debug)]
#[must_use = "messages that are dropped are requeued"]
pub struct IncomingMessages(pub(super) Vec<IncomingMessage>);

impl ActixMessage for IncomingMessages {
    type Result = ();
}

impl IncomingMessages {
    /// Returns the number of messages, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the messages in the order of arrival.
    pub fn iter(&self) -> std::slice::Iter<'_, IncomingMessage> {
        self.0.iter()
    }
}

impl IntoIterator for IncomingMessages {
    type Item = IncomingMessage;
    type IntoIter = std::vec::IntoIter<IncomingMessage>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a IncomingMessages {
    type Item = &'a IncomingMessage;
    type IntoIter = std::slice::Iter<'a, IncomingMessage>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
