//! Errors and messages for the tests of applications.
//!
//! An application that sends its publishes to a `Recipient<Publish>` can be tested with a mock
//! actor in place of the producer. [`publish_error`] and [`publish_error_with`] create the errors
//! that such a mock replies with. For tests against a server, see the feature `embedded`.
//!
//! ```
//! use actix_nsq::{
//!     Delivery, ErrorKind, Publish, PublishError, Topic,
//!     actix::{Actor, Context, Handler},
//!     testing,
//! };
//!
//! /// Stands in for a producer whose queue is full.
//! struct Overloaded;
//!
//! impl Actor for Overloaded {
//!     type Context = Context<Self>;
//! }
//!
//! impl Handler<Publish> for Overloaded {
//!     type Result = Result<(), PublishError>;
//!
//!     fn handle(&mut self, _: Publish, _: &mut Context<Self>) -> Self::Result {
//!         Err(testing::publish_error(ErrorKind::Full))
//!     }
//! }
//!
//! # #[actix::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let producer = Overloaded.start().recipient::<Publish>();
//! let result = producer.send(Publish::new(&Topic::new("orders")?, "an order")).await?;
//! let error = result.unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Full);
//! assert_eq!(error.delivery(), Delivery::NotWritten);
//! assert!(error.is_retryable());
//! # Ok(())
//! # }
//! ```
//!
//! A handler of messages is tested with a message of [`IncomingMessageBuilder`], whose answer can
//! be observed.

mod message;

use std::{sync::Arc, time::Duration};

use serde::de::Error as _;

pub use self::message::{IncomingMessageBuilder, ObservedAnswer, SentAnswer};
use crate::{
    error::{Cause, ConnectionError, Delivery, ErrorKind, PublishError},
    protocol::{ErrorCode, ServerError, Topic},
};

/// The default of `publish_timeout`.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(30);

/// Returns an error of this kind with the delivery that is most common for it:
/// [`Delivery::MaybeWritten`] for [`ErrorKind::ConnectionLost`] and for codes that leave the
/// outcome ambiguous (`E_MPUB_FAILED` and unknown ones), [`Delivery::NotWritten`] otherwise. Values
/// in its text are examples.
#[must_use]
pub fn publish_error(kind: ErrorKind) -> PublishError {
    let delivery = match kind {
        ErrorKind::ConnectionLost
        | ErrorKind::Rejected(ErrorCode::MpubFailed | ErrorCode::Unknown) => Delivery::MaybeWritten,
        _ => Delivery::NotWritten,
    };
    publish_error_with(kind, delivery)
}

/// Returns an error of this kind with this delivery.
///
/// Kinds that cannot have it keep the one they can have: a publish that fails before it is queued
/// (`InvalidName`, `EmptyBody`, `EmptyBatch`, `TooLarge`, `DelayTooLong`, `Serialize`, `Full`,
/// `NotConnected`) is [`Delivery::NotWritten`], and one that is answered `ConnectionLost` is not.
///
/// ```
/// use actix_nsq::{Delivery, ErrorKind, testing};
///
/// let error = testing::publish_error_with(ErrorKind::Timeout, Delivery::MaybeWritten);
/// assert_eq!(error.delivery(), Delivery::MaybeWritten);
/// let error = testing::publish_error_with(ErrorKind::Full, Delivery::MaybeWritten);
/// assert_eq!(error.delivery(), Delivery::NotWritten);
/// ```
#[must_use]
pub fn publish_error_with(kind: ErrorKind, delivery: Delivery) -> PublishError {
    let delivery = match kind {
        ErrorKind::InvalidName
        | ErrorKind::EmptyBody
        | ErrorKind::EmptyBatch
        | ErrorKind::TooLarge
        | ErrorKind::DelayTooLong
        | ErrorKind::Serialize
        | ErrorKind::NotConnected
        | ErrorKind::Full => Delivery::NotWritten,
        ErrorKind::ConnectionLost if delivery == Delivery::NotWritten => Delivery::MaybeWritten,
        _ => delivery,
    };
    PublishError::new(cause(kind, delivery), delivery)
}

fn cause(kind: ErrorKind, delivery: Delivery) -> Cause {
    match kind {
        // An empty name is always invalid.
        ErrorKind::InvalidName => Topic::new("").map_or_else(Cause::Name, |_| Cause::Closed),
        ErrorKind::EmptyBody => Cause::EmptyBody { index: None },
        ErrorKind::EmptyBatch => Cause::EmptyBatch,
        ErrorKind::TooLarge => Cause::TooLarge {
            index: None,
            size: (1 << 20) + 1,
            limit: 1 << 20,
        },
        ErrorKind::DelayTooLong => Cause::DelayTooLong {
            delay: Duration::from_secs(7_200),
            limit: Duration::from_secs(3_600),
        },
        ErrorKind::Serialize => {
            Cause::Serialize(Arc::new(serde_json::Error::custom("key must be a string")))
        }
        ErrorKind::Full => Cause::Full {
            option: "max_pending",
            unit: "publishes",
            held: 100_000,
            size: 1,
            limit: 100_000,
        },
        ErrorKind::Timeout if delivery == Delivery::NotWritten => Cause::NotSent {
            after: PUBLISH_TIMEOUT,
            last: None,
        },
        ErrorKind::Timeout => Cause::Unanswered {
            after: PUBLISH_TIMEOUT,
        },
        ErrorKind::Rejected(code) => Cause::Rejected(ServerError::parse(code.as_str().as_bytes())),
        ErrorKind::NotConnected => Cause::NoConnection { last: None },
        ErrorKind::ConnectionLost => Cause::ConnectionLost(ConnectionError::ClosedByPeer),
        ErrorKind::Drained => Cause::Drained,
        ErrorKind::Closed => Cause::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorScope;

    /// contract: 3
    #[test]
    fn publish_error_has_the_kind_scope_and_delivery() {
        use Delivery::{MaybeWritten, NotWritten};
        use ErrorScope::{Client, Message, Server, Topic};
        let rejected = ErrorKind::Rejected;
        for (kind, scope, delivery, retryable) in [
            (ErrorKind::InvalidName, Topic, NotWritten, false),
            (ErrorKind::EmptyBody, Message, NotWritten, false),
            (ErrorKind::EmptyBatch, Message, NotWritten, false),
            (ErrorKind::TooLarge, Message, NotWritten, false),
            (ErrorKind::DelayTooLong, Message, NotWritten, false),
            (ErrorKind::Serialize, Message, NotWritten, false),
            (ErrorKind::Full, Client, NotWritten, true),
            (ErrorKind::Timeout, Server, NotWritten, true),
            (ErrorKind::NotConnected, Server, NotWritten, true),
            (ErrorKind::ConnectionLost, Server, MaybeWritten, true),
            (ErrorKind::Drained, Client, NotWritten, false),
            (ErrorKind::Closed, Client, NotWritten, false),
            (rejected(ErrorCode::BadTopic), Topic, NotWritten, false),
            (rejected(ErrorCode::Unauthorized), Topic, NotWritten, false),
            (rejected(ErrorCode::BadMessage), Message, NotWritten, false),
            (rejected(ErrorCode::BadBody), Message, NotWritten, false),
            (rejected(ErrorCode::PubFailed), Server, NotWritten, true),
            (rejected(ErrorCode::MpubFailed), Server, MaybeWritten, true),
            (rejected(ErrorCode::Invalid), Server, NotWritten, false),
            (rejected(ErrorCode::Unknown), Server, MaybeWritten, false),
        ] {
            let error = publish_error(kind);
            assert_eq!(
                (error.kind(), error.scope(), error.delivery()),
                (kind, scope, delivery)
            );
            assert_eq!(error.is_retryable(), retryable, "{kind}");
            let with = publish_error_with(kind, delivery);
            assert_eq!(format!("{with:?}"), format!("{error:?}"));
        }
    }

    /// contract: 3
    #[test]
    fn publish_error_never_has_an_impossible_delivery() {
        let error = publish_error_with(ErrorKind::Full, Delivery::MaybeWritten);
        assert_eq!(error.delivery(), Delivery::NotWritten);
        let error = publish_error_with(ErrorKind::ConnectionLost, Delivery::NotWritten);
        assert_eq!(error.delivery(), Delivery::MaybeWritten);
        let error = publish_error_with(ErrorKind::Closed, Delivery::MaybePartial);
        assert_eq!(error.delivery(), Delivery::MaybePartial);
    }
}
