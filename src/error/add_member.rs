//! Why a member was not added to a pool.

use actix::MailboxError;

/// Why [`AddMember`](crate::pool::AddMember) did not add a member.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AddMemberError {
    /// The nsqd at this address is a member already.
    #[error("{address} is a member already")]
    #[non_exhaustive]
    AlreadyMember {
        /// Address of nsqd.
        address: String,
    },
    /// The pool has as many members as it may have.
    #[error("{address} would exceed max_members ({max})")]
    #[non_exhaustive]
    TooMany {
        /// Address of nsqd.
        address: String,
        /// The option `max_members`.
        max: usize,
    },
    /// A [`Drain`](crate::producer::Drain) was sent: the pool takes no members any more.
    #[error("draining or drained: the pool takes no members any more")]
    Drained,
    /// The request's own timeout ([`Request::timeout`](actix::dev::Request::timeout)) passed first.
    /// The member may be added later.
    #[error("the request's own timeout passed before the pool replied")]
    RequestTimeout,
    /// The pool has stopped.
    #[error("the pool has stopped")]
    Closed,
}

impl From<MailboxError> for AddMemberError {
    fn from(error: MailboxError) -> Self {
        match error {
            MailboxError::Closed => Self::Closed,
            MailboxError::Timeout => Self::RequestTimeout,
        }
    }
}
