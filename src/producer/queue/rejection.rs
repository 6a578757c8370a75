//! What an error response of nsqd means for the rejected command and for other publishes.

use super::{
    accounting::Accounting,
    in_flight::InFlight,
    pending::{Pending, Reply},
    topic_queue::TopicQueues,
};
use crate::{
    error::{Cause, PublishError},
    protocol::{ErrorCode, ServerError, Topic},
};

/// Which publishes an error response answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// None: the command is retried as it is.
    Retry,
    /// None: the publishes of the batch are retried one by one, and only the invalid one fails.
    Members,
    /// Those of the command.
    Command,
    /// Those of the command, and all others of its topic: each would cost a connection.
    Topic,
    /// All accepted publishes: each would cost a connection.
    All,
}

/// The meaning of an error response.
#[derive(Debug)]
pub(super) struct Rejection {
    error: ServerError,
    pub(super) scope: Scope,
    /// nsqd stored nothing of the command.
    is_certain: bool,
    /// nsqd has trouble to store, so the next commands may fail as well.
    pub(super) suspends_batching: bool,
    /// nsqd rejected the command because of its own state, and has stored nothing of it: another
    /// nsqd may accept it.
    pub(super) is_of_server: bool,
}

impl Rejection {
    /// The meaning of `error` for a command with this many publishes.
    pub(super) fn new(error: &ServerError, publishes: usize) -> Self {
        use ErrorCode::{
            AuthFailed, BadTopic, DpubFailed, MpubFailed, PubFailed, Unauthorized, Unknown,
        };
        let code = error.code();
        // E_MPUB_FAILED may come after a part of the batch was stored.
        let is_certain = !matches!(code, MpubFailed | Unknown);
        let scope = if error.is_slow_upload() {
            Scope::Retry
        } else if error.is_tls_required() {
            Scope::All
        } else if matches!(code, BadTopic | Unauthorized) {
            Scope::Topic
        } else if publishes > 1 && is_certain {
            Scope::Members
        } else {
            Scope::Command
        };
        Self {
            error: error.clone(),
            scope,
            is_certain,
            suspends_batching: matches!(code, PubFailed | MpubFailed | DpubFailed),
            is_of_server: matches!(code, PubFailed | DpubFailed | AuthFailed)
                || error.is_tls_required(),
        }
    }

    /// Answers the publishes of the rejected command, or prepares them to be retried one by one.
    /// Returns their topic, if the rejection concerns all others of it.
    pub(super) fn answer<R: Reply>(
        &self,
        command: &InFlight,
        topics: &mut TopicQueues<R>,
        accounting: &mut Accounting,
    ) -> Option<Topic> {
        let index = command.topic_queue;
        if self.scope == Scope::Members {
            if let Some(queue) = topics.get_mut(index) {
                let members = queue.oldest(command.usage.publishes);
                members.for_each(|publish| publish.no_batch = true);
            }
            return None;
        }
        let topic = topics.oldest_topic(index).cloned();
        topics.complete_oldest(command, accounting, |publish, accounting| {
            let error = self.error(publish);
            accounting.answer(publish, Err(error));
        });
        topic.filter(|_| self.scope == Scope::Topic)
    }

    /// The error of a publish that is answered.
    pub(super) fn error<R>(&self, publish: &Pending<R>) -> PublishError {
        let delivery = if self.is_certain {
            publish.not_written()
        } else {
            publish.ambiguous()
        };
        PublishError::new(self.cause(), delivery)
    }

    pub(super) fn cause(&self) -> Cause {
        Cause::Rejected(self.error.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(text: &str, publishes: usize) -> (Scope, bool, bool) {
        let error = ServerError::parse(text.as_bytes());
        let rejection = Rejection::new(&error, publishes);
        let Rejection {
            scope,
            is_certain,
            suspends_batching,
            ..
        } = rejection;
        (scope, is_certain, suspends_batching)
    }

    /// contract: 3, 4
    #[test]
    fn error_code_decides_scope_certainty_and_batching() {
        use Scope::{All, Command, Members, Retry, Topic};
        let table = [
            ("E_BAD_MESSAGE PUB message too big 2 > 1", Command, Members),
            ("E_BAD_BODY MPUB body too big 2 > 1", Command, Members),
            ("E_INVALID no", Command, Members),
            ("E_BAD_TOPIC PUB no", Topic, Topic),
            ("E_UNAUTHORIZED PUB failed", Topic, Topic),
            ("E_INVALID cannot PUB (TLS required)", All, All),
            (
                "E_BAD_MESSAGE PUB failed to read message body",
                Retry,
                Retry,
            ),
            ("E_BAD_BODY MPUB failed to read message count", Retry, Retry),
        ];
        for (text, single, batch) in table {
            assert_eq!(meaning(text, 1), (single, true, false), "{text}");
            assert_eq!(meaning(text, 2), (batch, true, false), "{text}");
        }
        assert_eq!(meaning("E_PUB_FAILED PUB no", 1), (Command, true, true));
        assert_eq!(meaning("E_DPUB_FAILED DPUB no", 1), (Command, true, true));
        assert_eq!(meaning("E_MPUB_FAILED MPUB no", 2), (Command, false, true));
        assert_eq!(meaning("E_NEW something new", 2), (Command, false, false));
    }
}
