//! What the pool does with each message.

use std::{rc::Rc, sync::Arc, time::Instant};

use actix::{ActorFutureExt, Context, Handler, ResponseActFuture, WrapFuture};
use futures::future::join_all;

use super::{
    actor::ProducerPool,
    event::{MoveReason, PoolEvent},
    route::bit,
    stats::{GetMembers, GetState, GetStats, Member, MemberStats, PoolState, PoolStats},
};
use crate::{
    config::WaitForConnection,
    error::{Cause, Delivery, PublishError, WaitError},
    link::{
        ConnectionEvent, DeferredReply, Pumped, Reconnect, SubscribeEvents, Unsubscribe,
        WaitConnected, deadline_after,
    },
    metrics::Latency,
    producer::{
        self, Accept, AnyPublish, DeferredPublish, Drain, DrainReport, FromMember, MemberReport,
        Moving, MultiPublish, Publish, PublishFailure, PublishReply, PublishRequest, ReplyTo,
        SubmissionList, Submitted, SubscribeFailures, WhenFull, accept_submitted,
    },
};

macro_rules! handle_publishes {
    ($($message:ident)+) => {$(
        impl Handler<$message> for ProducerPool {
            type Result = PublishReply;

            fn handle(&mut self, message: $message, ctx: &mut Context<Self>) -> PublishReply {
                let request = AnyPublish::from(message).into_request();
                let now = self.on_message(ctx);
                self.accept(request, WhenFull::Reject, now, ctx)
            }
        }
    )+};
}

handle_publishes! { Publish MultiPublish DeferredPublish AnyPublish }

impl Handler<Submitted> for ProducerPool {
    type Result = ();

    fn handle(&mut self, _: Submitted, ctx: &mut Context<Self>) {
        accept_submitted(self, ctx);
    }
}

impl Accept for ProducerPool {
    fn submissions(&mut self) -> &mut SubmissionList {
        &mut self.submissions
    }

    fn accept(
        &mut self,
        request: PublishRequest,
        when_full: WhenFull,
        now: Instant,
        _: &mut Context<Self>,
    ) -> PublishReply {
        self.connect_if_idle();
        let rejected = self.check(&request, now).err();
        self.rejected += u64::from(rejected.is_some());
        PublishReply {
            shared: Rc::clone(&self.shared),
            request,
            rejected: rejected.map(|cause| PublishError::new(cause, Delivery::NotWritten)),
            when_full,
            now,
        }
    }
}

impl ProducerPool {
    /// Whether a publish may be queued in the present state of the members.
    fn may_queue(&self) -> bool {
        match self.producer.wait_for_connection() {
            WaitForConnection::Always => true,
            WaitForConnection::First if !self.has_connected => true,
            WaitForConnection::First | WaitForConnection::Never => {
                let mut members = self.members.iter();
                members.any(|(_, it)| it.view.is_up.get() || it.view.is_replacing.get())
            }
        }
    }

    /// Rejects a publish that must not be queued.
    fn check(&self, request: &PublishRequest, now: Instant) -> Result<(), Cause> {
        if self.drain.has_begun() {
            return Err(Cause::Drained);
        }
        if !self.may_queue() {
            let last = self.last_error.clone();
            return Err(Cause::NoConnection { last });
        }
        request.check(&self.producer, &self.denied_topics.borrow(), now)
    }
}

impl Handler<FromMember> for ProducerPool {
    type Result = ();

    fn handle(&mut self, FromMember { member, report }: FromMember, ctx: &mut Context<Self>) {
        let now = self.burst.on_connection_message();
        let slot = self.members.by_id(member);
        match report {
            MemberReport::Connection(event) => self.on_connection_event(slot, event, now, ctx),
            MemberReport::GivenBack(publishes) => self.on_given_back(slot, publishes, now),
        }
    }
}

impl ProducerPool {
    fn on_connection_event(
        &mut self,
        slot: Option<usize>,
        event: ConnectionEvent,
        now: Instant,
        ctx: &mut Context<Self>,
    ) {
        // A member that was removed reports that it is closed.
        let Some(slot) = slot else { return };
        let Some(member) = self.members.get_mut(slot) else {
            return;
        };
        self.observers.connection.emit(&event);
        // One that leaves is not dialled again.
        #[cfg(feature = "lookup")]
        if member.is_discovered && !member.is_leaving {
            self.discovering.on_event(&member.key, &event);
        }
        let (answered, _) = member.view.answers.get();
        match &event {
            ConnectionEvent::Connected { .. } => {
                member.answered_before = answered;
            }
            ConnectionEvent::Disconnected { reason, .. } => {
                self.last_error = Some(reason.clone());
                if answered == member.answered_before {
                    self.router.on_failed(slot, now);
                }
            }
            ConnectionEvent::BackingOff {
                reason: Some(reason),
                ..
            } => self.last_error = Some(reason.clone()),
            _ => {}
        }
        let is_lost = matches!(event, ConnectionEvent::Disconnected { .. });
        let is_removed = is_lost && member.is_dropped && !member.is_leaving;
        member.event = event;
        if is_removed {
            self.remove_dropped(slot, ctx);
        }
    }

    fn on_given_back(&mut self, slot: Option<usize>, mut moved: Moving<ReplyTo>, now: Instant) {
        let publishes = moved.len();
        self.moved += publishes as u64;
        if let Some(slot) = slot
            && let Some(member) = self.members.get_mut(slot)
        {
            member.moved_from += publishes as u64;
            let is_rejected = moved.note_given_back(bit(slot), now);
            let reason = if is_rejected {
                self.router.on_failed(slot, now);
                MoveReason::Rejected
            } else if member.is_leaving {
                MoveReason::Removed
            } else if member.view.is_up.get() {
                MoveReason::Slow
            } else {
                MoveReason::Disconnected
            };
            member.moves.count(reason, publishes as u64);
            let address = Arc::clone(&member.address);
            self.observers.pool.emit(&PoolEvent::Moved {
                address,
                publishes,
                reason,
            });
        }
        self.shared.queue.borrow_mut().take_in(moved);
    }
}

impl Handler<WaitConnected> for ProducerPool {
    type Result = DeferredReply<Result<(), WaitError>>;

    fn handle(&mut self, message: WaitConnected, ctx: &mut Context<Self>) -> Self::Result {
        let now = self.on_message(ctx);
        self.connect_if_idle();
        self.waiters.add(message, now)
    }
}

impl Handler<Reconnect> for ProducerPool {
    type Result = ();

    fn handle(&mut self, _: Reconnect, ctx: &mut Context<Self>) {
        self.on_message(ctx);
        self.is_started = true;
        for (_, member) in self.members.iter() {
            member.producer.do_send(Reconnect);
        }
    }
}

impl Handler<Drain> for ProducerPool {
    type Result = DeferredReply<DrainReport>;

    fn handle(
        &mut self,
        Drain { timeout }: Drain,
        ctx: &mut Context<Self>,
    ) -> DeferredReply<DrainReport> {
        let now = self.on_message(ctx);
        // Publishes whose callers have dropped their requests are not waited for.
        self.shared.queue.borrow_mut().remove_cancelled();
        self.begin_drain();
        self.drain.begin(deadline_after(now, timeout))
    }
}

impl Handler<SubscribeEvents<ConnectionEvent>> for ProducerPool {
    type Result = ();

    fn handle(
        &mut self,
        SubscribeEvents(to): SubscribeEvents<ConnectionEvent>,
        ctx: &mut Context<Self>,
    ) {
        self.on_message(ctx);
        let current: Vec<_> = self
            .members
            .iter()
            .map(|(_, member)| member.event.clone())
            .collect();
        self.observers.connection.add(to, current);
        self.forget_subscribers_if_drained();
    }
}

impl Handler<SubscribeEvents<PoolEvent>> for ProducerPool {
    type Result = ();

    fn handle(&mut self, SubscribeEvents(to): SubscribeEvents<PoolEvent>, ctx: &mut Context<Self>) {
        self.on_message(ctx);
        let added = self.members.iter().map(|(_, member)| PoolEvent::Added {
            address: Arc::clone(&member.address),
        });
        let state = match self.drain.report() {
            Some(&report) => PoolEvent::Drained { report },
            None if self.drain.has_begun() => PoolEvent::Draining,
            None if !self.is_up => PoolEvent::NoneUp,
            None => PoolEvent::UpAgain,
        };
        let current: Vec<_> = added.chain([state]).collect();
        self.observers.pool.add(to, current);
        self.forget_subscribers_if_drained();
    }
}

impl Handler<Unsubscribe<ConnectionEvent>> for ProducerPool {
    type Result = ();

    fn handle(&mut self, Unsubscribe(to): Unsubscribe<ConnectionEvent>, ctx: &mut Context<Self>) {
        self.on_message(ctx);
        self.observers.connection.remove(&to);
    }
}

impl Handler<Unsubscribe<PoolEvent>> for ProducerPool {
    type Result = ();

    fn handle(&mut self, Unsubscribe(to): Unsubscribe<PoolEvent>, ctx: &mut Context<Self>) {
        self.on_message(ctx);
        self.observers.pool.remove(&to);
    }
}

impl Handler<SubscribeFailures> for ProducerPool {
    type Result = ();

    fn handle(&mut self, SubscribeFailures(to): SubscribeFailures, ctx: &mut Context<Self>) {
        self.on_message(ctx);
        self.shared.failures.subscribe(to);
    }
}

impl Handler<Unsubscribe<PublishFailure>> for ProducerPool {
    type Result = ();

    fn handle(&mut self, Unsubscribe(to): Unsubscribe<PublishFailure>, ctx: &mut Context<Self>) {
        self.on_message(ctx);
        self.shared.failures.unsubscribe(&to);
    }
}

impl Handler<GetState> for ProducerPool {
    type Result = PoolState;

    fn handle(&mut self, _: GetState, ctx: &mut Context<Self>) -> PoolState {
        self.on_message(ctx);
        self.state()
    }
}

impl Handler<GetMembers> for ProducerPool {
    type Result = Vec<Member>;

    fn handle(&mut self, _: GetMembers, ctx: &mut Context<Self>) -> Vec<Member> {
        self.on_message(ctx);
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by_key(|(_, member)| member.id.0);
        members
            .into_iter()
            .map(|(slot, member)| member.describe(self.router.is_suspect(slot)))
            .collect()
    }
}

impl Handler<GetStats> for ProducerPool {
    type Result = ResponseActFuture<Self, PoolStats>;

    fn handle(&mut self, _: GetStats, ctx: &mut Context<Self>) -> Self::Result {
        self.on_message(ctx);
        let members: Vec<_> = self
            .members
            .iter()
            .map(|(slot, member)| {
                let described = member.describe(self.router.is_suspect(slot));
                let stats = member.producer.send(producer::GetStats);
                let (moved_to, moved_from) = (member.moved_to, member.moved_from);
                let moves = member.moves;
                async move {
                    Some(MemberStats {
                        address: described.address,
                        state: described.state,
                        moved_to,
                        moved_from,
                        moves,
                        producer: stats.await.ok()?,
                    })
                }
            })
            .collect();
        let all = join_all(members).into_actor(self);
        Box::pin(
            all.map(|members, pool: &mut Self, _| {
                pool.stats(members.into_iter().flatten().collect())
            }),
        )
    }
}

impl ProducerPool {
    fn stats(&self, members: Vec<MemberStats>) -> PoolStats {
        let counters = self.counters();
        let mut queue = self.shared.queue.borrow_mut();
        let held = queue.capacity().held();
        let mut latency = Latency::default();
        for member in &members {
            latency.add(&member.producer.latency);
        }
        PoolStats {
            state: self.state(),
            published: counters.published + self.rejected,
            ok: counters.ok,
            not_written: counters.not_written + self.rejected,
            maybe_written: counters.maybe_written,
            maybe_partial: counters.maybe_partial,
            rejected: self.rejected,
            rejected_full: counters.rejected_full,
            timed_out: counters.timed_out,
            moved: self.moved,
            waiting: queue.queued().publishes,
            held: held.publishes,
            held_bytes: held.bytes,
            waiting_for_capacity: queue.waiting_for_capacity(),
            latency,
            topics: queue.capacity().topic_stats(),
            members,
        }
    }
}
