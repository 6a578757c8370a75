//! How a message is answered by the result of its publish.

use actix_nsq::{ErrorKind, ErrorScope, PublishError, Requeue};

/// Why a message is requeued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The message itself is the reason: it will fail again, and others will not.
    Rejected,
    /// Other messages fail for the same reason.
    Failed,
    /// The program ends.
    Ending,
}

impl Failure {
    pub(crate) fn of(error: &PublishError) -> Self {
        match (error.kind(), error.scope()) {
            (ErrorKind::Drained, _) => Self::Ending,
            (_, ErrorScope::Message) => Self::Rejected,
            _ => Self::Failed,
        }
    }

    pub(crate) fn requeue(self) -> Requeue {
        match self {
            Self::Rejected => Requeue::default().without_backoff(),
            Self::Failed => Requeue::default(),
            Self::Ending => Requeue::now().without_backoff(),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_nsq::{protocol::ErrorCode, testing::publish_error};

    use super::*;

    #[test]
    fn only_what_concerns_other_messages_causes_backoff() {
        use Failure::{Ending, Failed, Rejected};
        let rejected = ErrorKind::Rejected;
        for (kind, expected) in [
            (ErrorKind::TooLarge, Rejected),
            (rejected(ErrorCode::BadMessage), Rejected),
            (rejected(ErrorCode::BadTopic), Failed),
            (rejected(ErrorCode::Unauthorized), Failed),
            (rejected(ErrorCode::PubFailed), Failed),
            (rejected(ErrorCode::Invalid), Failed),
            (ErrorKind::Timeout, Failed),
            (ErrorKind::NotConnected, Failed),
            (ErrorKind::ConnectionLost, Failed),
            (ErrorKind::Drained, Ending),
        ] {
            assert_eq!(Failure::of(&publish_error(kind)), expected, "{kind}");
        }
        let causes_backoff = |failure: Failure| {
            let requeue = failure.requeue();
            requeue != requeue.without_backoff()
        };
        assert!(causes_backoff(Failed));
        assert!(!causes_backoff(Rejected) && !causes_backoff(Ending));
    }
}
