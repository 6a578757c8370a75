//! How members are added and removed.

use std::{rc::Rc, sync::Arc, time::Duration};

use actix::{
    ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture,
    fut,
};

use super::{actor::ProducerPool, event::PoolEvent, member::PoolMember, route::MAX_MEMBERS};

pub use crate::error::AddMemberError;
use crate::{
    config::ProducerConfig,
    conn::address_key,
    link::{Pumped, Reconnect},
    producer::{Drain, DrainReport, GiveBack, MemberId, MemberView, Membership, Producer},
};

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
/// A member that an nsqlookupd names is not added again before [`AddMember`].
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

impl ProducerPool {
    /// Adds a member, which begins to connect.
    ///
    /// # Errors
    ///
    /// If it is a member already, or there are too many.
    pub(super) fn add_member(
        &mut self,
        config: ProducerConfig,
        is_discovered: bool,
        ctx: &mut Context<Self>,
    ) -> Result<(), AddMemberError> {
        let address = || config.address().to_owned();
        if self.drain.has_begun() {
            return Err(AddMemberError::Drained);
        }
        #[cfg(feature = "lookup")]
        if !is_discovered {
            self.discovering.on_added(&address_key(config.address()));
        }
        if let Some(slot) = self.members.by_address(config.address()) {
            if let Some(member) = self.members.get_mut(slot).filter(|_| !is_discovered) {
                // What was discovered is now wanted in any case.
                member.is_dropped = false;
                if std::mem::take(&mut member.is_discovered) {
                    return Ok(());
                }
            }
            return Err(AddMemberError::AlreadyMember { address: address() });
        }
        if !self.has_capacity() {
            return Err(AddMemberError::TooMany {
                address: address(),
                max: self.config.max_members(),
            });
        }
        self.start_member(config, is_discovered, ctx);
        Ok(())
    }

    /// Whether it may have one more member.
    pub(super) fn has_capacity(&self) -> bool {
        let staying = self.members.iter().filter(|(_, member)| !member.is_leaving);
        staying.count() < self.config.max_members() && self.members.free_slot() < MAX_MEMBERS
    }

    pub(super) fn start_member(
        &mut self,
        config: ProducerConfig,
        is_discovered: bool,
        ctx: &mut Context<Self>,
    ) {
        self.ids += 1;
        let id = MemberId(self.ids);
        let address: Arc<str> = config.address().into();
        let view = Rc::new(MemberView::new());
        let membership = Membership {
            member: id,
            pool: ctx.address().downgrade().recipient(),
            view: Rc::clone(&view),
            capacity: Rc::clone(self.shared.queue.borrow().capacity()),
            denied_topics: Rc::clone(&self.denied_topics),
            failures: Arc::clone(&self.shared.failures),
        };
        let connects = config.connect_at_start();
        let producer = Producer::start_as_member(config, membership);
        if self.is_started && !connects {
            producer.do_send(Reconnect);
        }
        let slot = self.members.free_slot();
        // The order of `PerTopic` is the same however the address is written.
        self.router.add(slot, address_key(&address));
        let shared = Arc::clone(&address);
        let member = PoolMember::new(id, shared, producer, view, is_discovered);
        self.members.insert(slot, member);
        self.observers.pool.emit(&PoolEvent::Added { address });
    }

    /// Begins to remove a member: it gets no publishes, and gives back what is queued. Returns its
    /// producer, which is to be drained.
    pub(super) fn begin_removal(&mut self, slot: usize) -> Option<(MemberId, Addr<Producer>)> {
        self.router.remove(slot);
        let member = self.members.get_mut(slot)?;
        member.is_leaving = true;
        member.producer.do_send(GiveBack);
        Some((member.id, member.producer.clone()))
    }

    /// Removes a member that no nsqlookupd names any more.
    pub(super) fn remove_dropped(&mut self, slot: usize, ctx: &mut Context<Self>) {
        let Some((id, producer)) = self.begin_removal(slot) else {
            return;
        };
        let drained = producer.send(Drain::new(Duration::ZERO)).into_actor(self);
        ctx.spawn(drained.map(move |_, pool: &mut Self, ctx| {
            pool.end_removal(id, ctx);
        }));
    }

    /// Removes a member for good: its producer is drained.
    pub(super) fn end_removal(&mut self, id: MemberId, ctx: &mut Context<Self>) {
        let slot = self.members.by_id(id);
        if let Some(member) = slot.and_then(|slot| self.members.remove(slot)) {
            self.removed = self.removed.plus(member.view.counters.get());
            let address = member.address;
            self.observers.pool.emit(&PoolEvent::Removed { address });
        }
        #[cfg(feature = "lookup")]
        self.admit_waiting(ctx);
        #[cfg(not(feature = "lookup"))]
        let _ = ctx;
    }
}

impl Handler<AddMember> for ProducerPool {
    type Result = Result<(), AddMemberError>;

    fn handle(&mut self, AddMember(config): AddMember, ctx: &mut Context<Self>) -> Self::Result {
        self.on_message(ctx);
        self.add_member(config, false, ctx)
    }
}

impl Handler<RemoveMember> for ProducerPool {
    type Result = ResponseActFuture<Self, Option<DrainReport>>;

    fn handle(
        &mut self,
        RemoveMember { address, timeout }: RemoveMember,
        ctx: &mut Context<Self>,
    ) -> Self::Result {
        self.on_message(ctx);
        let slot = self.members.by_address(&address);
        #[cfg(feature = "lookup")]
        self.discovering.on_removed(&address_key(&address));
        let Some((id, producer)) = slot.and_then(|slot| self.begin_removal(slot)) else {
            return Box::pin(fut::ready(None));
        };
        let drained = producer.send(Drain::new(timeout)).into_actor(self);
        Box::pin(drained.map(move |report, pool: &mut Self, ctx| {
            pool.end_removal(id, ctx);
            report.ok()
        }))
    }
}
