//! The messages that add and remove members.

use std::time::Duration;

use actix::Message;

pub use crate::error::AddMemberError;
use crate::{config::ProducerConfig, producer::DrainReport};

/// Adds a member to a pool. Its limits of what is pending are those of the pool.
///
/// # Errors
///
/// [`AddMemberError`] if the address is that of a member, the pool has `max_members`, or it drains.
///
/// # Cancel safety
///
/// A request dropped before the pool has received it has no effect. Later, the member is added.
///
/// ```no_run
/// # use actix::Addr;
/// use actix_nsq::{PoolConfig, ProducerPool, pool::AddMember};
///
/// # async fn example(pool: Addr<ProducerPool>) -> Result<(), Box<dyn std::error::Error>> {
/// let config = PoolConfig::new(["nsqd-1:4150", "nsqd-2:4150"])?;
/// let pool = ProducerPool::start(config.clone());
/// pool.send(AddMember(config.member("nsqd-3:4150")?)).await??;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), AddMemberError>")]
pub struct AddMember(pub ProducerConfig);

/// Removes a member: it gets no publishes any more, what is queued there moves to others, and what
/// is in flight is answered for up to `timeout`.
///
/// The result arrives when the member holds no connection: how the publishes in flight were
/// answered. It is `None` if there is no such member.
///
/// A member that an nsqlookupd names is not added again as long as it is named.
///
/// # Cancel safety
///
/// A request dropped before the pool has received it has no effect. Later, the removal goes on.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Option<DrainReport>")]
pub struct RemoveMember {
    /// Address of nsqd, as it was given.
    pub address: String,
    /// Time for the publishes in flight.
    pub timeout: Duration,
}

impl RemoveMember {
    /// A removal with this time for the publishes in flight.
    pub fn new(address: impl Into<String>, timeout: Duration) -> Self {
        Self {
            address: address.into(),
            timeout,
        }
    }
}
