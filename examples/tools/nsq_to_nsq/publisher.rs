//! Publishes a message through the pool: again if its connection is lost, and to another
//! destination as well if one hangs.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use actix_nsq::{
    Delivery, ErrorKind, ProducerHandle, ProducerPool, Publish, PublishError, Topic,
    bytes::Bytes,
    pool::{GetMembers, MemberState},
};
use futures::future::select;
use tokio::time::timeout;

/// Maximum number of times that a message is published after one another.
const ATTEMPTS: usize = 3;

/// Time without a result after which another destination gets the message as well: less than a
/// second, together with its answer.
const PATIENCE: Duration = Duration::from_millis(900);

/// A message to be published until a deadline.
#[derive(Debug)]
pub(crate) struct Publisher<'a> {
    pub(crate) pool: &'a ProducerHandle<ProducerPool>,
    pub(crate) topic: &'a Topic,
    pub(crate) body: Bytes,
    /// Later, the source delivers it again.
    pub(crate) deadline: Instant,
}

/// The result of a message.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) result: Result<(), PublishError>,
    /// Another attempt than that with the result may have stored it.
    pub(crate) may_be_stored: bool,
}

impl Publisher<'_> {
    /// Publishes the message.
    pub(crate) async fn publish(&self) -> Published {
        let mut first = pin!(self.publish_again_if_lost());
        loop {
            if let Ok(published) = timeout(PATIENCE, &mut first).await {
                return published;
            }
            if self.one_hangs().await {
                break;
            }
        }
        // What hangs keeps the publish, so the pool cannot move it.
        let second = pin!(self.publish_again_if_lost());
        let (sooner, other) = select(first, second).await.factor_first();
        let result = match sooner.result {
            // If the other is not in flight, it is never sent.
            Ok(()) => Ok(()),
            Err(_) => other.await.result,
        };
        Published {
            result,
            may_be_stored: true,
        }
    }

    /// Whether a destination does not answer, while another one does.
    async fn one_hangs(&self) -> bool {
        let members = self.pool.address().send(GetMembers).await;
        let members = members.unwrap_or_default();
        let hangs = |state| state != MemberState::Up;
        members
            .iter()
            .any(|it| it.outstanding > 0 && hangs(it.state))
            && members.iter().any(|it| !hangs(it.state))
    }

    /// Publishes the message again if its result is ambiguous: another destination may be up, which
    /// is sooner than a redelivery.
    async fn publish_again_if_lost(&self) -> Published {
        let mut may_be_stored = false;
        for _ in 1..ATTEMPTS {
            let result = self.publish_once().await;
            if !result.as_ref().is_err_and(is_worth_another_attempt) {
                return Published {
                    result,
                    may_be_stored,
                };
            }
            may_be_stored = true;
        }
        Published {
            result: self.publish_once().await,
            may_be_stored,
        }
    }

    async fn publish_once(&self) -> Result<(), PublishError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let publish = Publish::new(self.topic, self.body.clone()).expires_in(left);
        self.pool.publish_message(publish).await
    }
}

/// Whether a message is published again at once: it may be stored, and another destination may be
/// up. The pool itself moves a message only if it is certainly not stored.
fn is_worth_another_attempt(error: &PublishError) -> bool {
    let is_ambiguous = error.delivery() != Delivery::NotWritten;
    is_ambiguous && error.is_retryable() && error.kind() != ErrorKind::Timeout
}

#[cfg(test)]
mod tests {
    use actix_nsq::{protocol::ErrorCode, testing::publish_error};

    use super::*;

    #[test]
    fn only_ambiguous_result_is_worth_another_attempt() {
        let rejected = ErrorKind::Rejected;
        for (kind, expected) in [
            (ErrorKind::ConnectionLost, true),
            (rejected(ErrorCode::MpubFailed), true),
            (rejected(ErrorCode::PubFailed), false),
            (rejected(ErrorCode::BadMessage), false),
            (ErrorKind::Timeout, false),
            (ErrorKind::Drained, false),
        ] {
            let error = publish_error(kind);
            assert_eq!(is_worth_another_attempt(&error), expected, "{kind}");
        }
    }
}
