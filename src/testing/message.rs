//! Messages with an observable answer.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::{
    consumer::{Answer, AnswerQueue, IncomingMessage, Requeue},
    protocol::{Channel, Message, MessageId, Topic},
};

/// Builds an [`IncomingMessage`] of no consumer, to test a handler.
///
/// ```
/// use actix_nsq::{
///     IncomingMessage, Requeue,
///     testing::{IncomingMessageBuilder, SentAnswer},
/// };
///
/// fn handle(message: IncomingMessage) {
///     let number = std::str::from_utf8(message.body()).map(str::parse::<u32>);
///     message.settle(number.map_err(drop).and_then(|number| number.map_err(drop)));
/// }
///
/// let (message, answer) = IncomingMessageBuilder::new("42").build();
/// assert_eq!(answer.get(), None);
/// handle(message);
/// assert_eq!(answer.get(), Some(SentAnswer::Finished));
///
/// let (message, answer) = IncomingMessageBuilder::new("many").attempts(3).build();
/// handle(message);
/// assert_eq!(answer.get(), Some(SentAnswer::Requeued(Requeue::default())));
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct IncomingMessageBuilder {
    message: Message,
    topic: Topic,
    channel: Channel,
}

impl IncomingMessageBuilder {
    /// A first delivery with this body, of the topic `test` and the channel `test`.
    pub fn new(body: impl Into<Bytes>) -> Self {
        let message = Message {
            timestamp: 1_700_000_000_000_000_000,
            attempts: 1,
            id: MessageId::new(*b"0123456789abcdef"),
            body: body.into(),
        };
        Self {
            message,
            topic: Topic::from_static("test"),
            channel: Channel::from_static("test"),
        }
    }

    /// Sets the topic.
    pub fn topic(mut self, topic: &Topic) -> Self {
        self.topic = topic.clone();
        self
    }

    /// Sets the channel.
    pub fn channel(mut self, channel: &Channel) -> Self {
        self.channel = channel.clone();
        self
    }

    /// Sets the number of deliveries.
    pub fn attempts(mut self, attempts: u16) -> Self {
        self.message.attempts = attempts;
        self
    }

    /// Sets when nsqd received the message: nanoseconds since the Unix epoch.
    pub fn timestamp(mut self, timestamp: i64) -> Self {
        self.message.timestamp = timestamp;
        self
    }

    /// Sets the id.
    pub fn id(mut self, id: MessageId) -> Self {
        self.message.id = id;
        self
    }

    /// Returns the message, which expires in a minute, and its answer.
    pub fn build(self) -> (IncomingMessage, ObservedAnswer) {
        let answers = Arc::new(AnswerQueue::new());
        let origin = (self.topic, self.channel);
        let message = IncomingMessage::detached(self.message, origin, Arc::clone(&answers));
        (message, ObservedAnswer(answers))
    }
}

/// The answer to a message of [`IncomingMessageBuilder`].
pub struct ObservedAnswer(Arc<AnswerQueue>);

/// What a handler has done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SentAnswer {
    /// It was finished.
    Finished,
    /// It was requeued in this way.
    Requeued(Requeue),
    /// It was dropped without an answer, which requeues it as a failure.
    Dropped,
}

impl ObservedAnswer {
    /// Returns the answer, if there is one yet.
    #[must_use]
    pub fn get(&self) -> Option<SentAnswer> {
        self.0.all().into_iter().find_map(|answer| match answer {
            Answer::Finish => Some(SentAnswer::Finished),
            Answer::Requeue(requeue) => Some(SentAnswer::Requeued(requeue)),
            Answer::Return => Some(SentAnswer::Requeued(Requeue::now().without_backoff())),
            Answer::Dropped | Answer::TimedOut => Some(SentAnswer::Dropped),
            Answer::Touch => None,
        })
    }

    /// Returns how often the message was touched.
    #[must_use]
    pub fn touches(&self) -> usize {
        let is_touch = |answer: &Answer| *answer == Answer::Touch;
        self.0
            .all()
            .iter()
            .filter(|answer| is_touch(answer))
            .count()
    }
}

impl fmt::Debug for ObservedAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ObservedAnswer").field(&self.get()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// checklist: 61
    #[test]
    fn answer_and_touches_of_a_message_are_observed() {
        let (message, answer) = IncomingMessageBuilder::new("body").attempts(2).build();
        assert_eq!(
            (message.body().as_ref(), message.attempts()),
            (&b"body"[..], 2)
        );
        message.touch().unwrap();
        message.touch().unwrap();
        assert_eq!((answer.get(), answer.touches()), (None, 2));
        message.requeue(Requeue::now()).unwrap();
        assert_eq!(answer.get(), Some(SentAnswer::Requeued(Requeue::now())));
        let (message, answer) = IncomingMessageBuilder::new("body").build();
        drop(message);
        assert_eq!(answer.get(), Some(SentAnswer::Dropped));
    }
}
