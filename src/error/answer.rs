//! Why an answer to a message has no effect.

/// Why an answer to an [`IncomingMessage`](crate::IncomingMessage) may have no effect: nsqd
/// delivers the message again, or has done so.
///
/// `Ok` means that the answer will be written. nsqd confirms no answer; only a
/// [`Drain`](crate::consumer::Drain) proves that all were executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The connection that delivered the message is lost. The answer reaches no other connection.
    #[error("the connection that delivered the message is lost; nsqd delivers the message again")]
    ConnectionLost,
    /// The deadline has passed: nsqd has requeued the message, or will. A late
    /// [`finish`](crate::IncomingMessage::finish) is sent nevertheless, and finishes the message if
    /// nsqd has delivered it again to the same connection.
    #[error("the deadline of the message has passed; nsqd delivers the message again")]
    Expired,
    /// The consumer has ended.
    #[error("the consumer has ended; nsqd delivers the message again")]
    Closed,
}
