//! What a consumer subscribes to, and messages that its handler cannot have.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use actix::{Message, Recipient};
use log::error;

use super::incoming::IncomingMessage;
use crate::protocol::{Channel, NameError, Topic};

/// A topic and a channel, and what happens to messages that their handler cannot have.
///
/// ```
/// use actix_nsq::Subscription;
///
/// let subscription = Subscription::new("orders", "billing")?;
/// assert_eq!(subscription.topic().as_str(), "orders");
/// # Ok::<_, actix_nsq::NameError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Subscription {
    topic: Topic,
    channel: Channel,
    dead_letters: Option<DeadLetters>,
}

impl Subscription {
    /// The topic and the channel are a [`Topic`] and a [`Channel`], or their names.
    ///
    /// # Errors
    ///
    /// [`NameError`] if a name is invalid.
    pub fn new<T, C>(topic: T, channel: C) -> Result<Self, NameError>
    where
        T: TryInto<Topic, Error: Into<NameError>>,
        C: TryInto<Channel, Error: Into<NameError>>,
    {
        Ok(Self {
            topic: topic.try_into().map_err(Into::into)?,
            channel: channel.try_into().map_err(Into::into)?,
            dead_letters: None,
        })
    }

    /// Sends messages to this recipient instead of to the handler that were delivered more than
    /// `max_attempts` times, or whose body a [JSON handler](super::MessageHandler::json) cannot
    /// read. Its answer decides what becomes of them. If its actor has stopped, they are requeued
    /// as failures, which pause the consumer.
    pub fn dead_letters(mut self, to: Recipient<DeadLetter>) -> Self {
        self.dead_letters = Some(DeadLetters::Recipient(to));
        self
    }

    /// The same with a function, which must not block: it runs on the consumer's arbiter. If it
    /// panics, the message is requeued.
    ///
    /// ```
    /// use actix_nsq::Subscription;
    ///
    /// let subscription = Subscription::new("orders", "billing")?.dead_letters_fn(|letter| {
    ///     eprintln!("discarded, {}: {:?}", letter.reason, letter.message.body());
    ///     // An error means that it comes again.
    ///     let _ = letter.message.finish();
    /// });
    /// # Ok::<_, actix_nsq::NameError>(())
    /// ```
    pub fn dead_letters_fn(mut self, to: impl Fn(DeadLetter) + Send + Sync + 'static) -> Self {
        self.dead_letters = Some(DeadLetters::Function(Arc::new(to)));
        self
    }

    /// Returns the topic.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Returns the channel.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    pub(super) fn dead_letter_receiver(&self) -> Option<&DeadLetters> {
        self.dead_letters.as_ref()
    }
}

/// Who gets dead letters.
#[derive(Clone)]
pub(super) enum DeadLetters {
    Recipient(Recipient<DeadLetter>),
    Function(Arc<dyn Fn(DeadLetter) + Send + Sync>),
}

impl DeadLetters {
    pub(super) fn send(&self, letter: DeadLetter) {
        match self {
            Self::Recipient(to) => to.do_send(letter),
            // A panic of the application's function must not end the consumer.
            Self::Function(to) => {
                if catch_unwind(AssertUnwindSafe(|| to(letter))).is_err() {
                    error!("the function for dead letters panicked: the message is requeued");
                }
            }
        }
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Recipient(_) => "Recipient",
            Self::Function(_) => "Function",
        })
    }
}

/// A message that its handler cannot have.
///
/// Store it somewhere, for example in another topic, and then
/// [`finish`](IncomingMessage::finish) it: a message that is dropped is requeued and comes again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct DeadLetter {
    /// The message, which its recipient answers.
    pub message: IncomingMessage,
    /// Why its handler cannot have it.
    pub reason: DeadLetterReason,
}

/// Why a message is a [`DeadLetter`].
#[derive(Debug)]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// It was delivered more than `max_attempts` times.
    TooManyAttempts,
    /// Its body is not the JSON of the handler's type.
    InvalidJson(serde_json::Error),
}

impl fmt::Display for DeadLetterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyAttempts => f.write_str("it exceeds max_attempts"),
            Self::InvalidJson(error) => write!(f, "its body cannot be read: {error}"),
        }
    }
}
