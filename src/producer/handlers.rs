//! What the producer does with each message.

use std::{rc::Rc, time::Instant};

use actix::{Context, Handler};

use super::{
    actor::Producer,
    drain::{Drain, DrainReport},
    failures::{PublishFailure, ReplyTo, SubscribeFailures},
    membership::{GiveBack, TakeIn},
    message::{AnyPublish, DeferredPublish, MultiPublish, Publish, PublishRequest},
    ping::Ping,
    publish::{Accept, PublishReply, accept_submitted},
    queue::{Usage, WhenFull},
    stats::{GetState, GetStats, ProducerEvent, ProducerState, Stats},
    submissions::{SubmissionList, Submitted},
};
use crate::{
    config::WaitForConnection,
    conn::{Closed, ConnId, FrameList, Frames},
    error::{Cause, Delivery, PublishError, WaitError},
    link::{
        ConnectionEvent, DeferredReply, LinkOwner, Pumped, Reconnect, SubscribeEvents, Unsubscribe,
        WaitConnected, deadline_after, now, work,
    },
    protocol::Frame,
};

macro_rules! handle_publishes {
    ($($message:ident)+) => {$(
        impl Handler<$message> for Producer {
            type Result = PublishReply;

            fn handle(&mut self, message: $message, ctx: &mut Context<Self>) -> PublishReply {
                let now = self.on_message(ctx);
                self.accept(message.0, WhenFull::Reject, now, ctx)
            }
        }
    )+};
}

handle_publishes! { Publish MultiPublish DeferredPublish }

impl Handler<AnyPublish> for Producer {
    type Result = PublishReply;

    fn handle(&mut self, message: AnyPublish, ctx: &mut Context<Self>) -> PublishReply {
        let now = self.on_message(ctx);
        self.accept(message.into_request(), WhenFull::Reject, now, ctx)
    }
}

impl Handler<Submitted> for Producer {
    type Result = ();

    fn handle(&mut self, _: Submitted, ctx: &mut Context<Self>) {
        accept_submitted(self, ctx);
    }
}

impl Accept for Producer {
    fn submissions(&mut self) -> &mut SubmissionList {
        &mut self.submissions
    }

    #[inline(always)]
    fn accept(
        &mut self,
        request: PublishRequest,
        when_full: WhenFull,
        now: Instant,
        ctx: &mut Context<Self>,
    ) -> PublishReply {
        let rejected = self.check(&request, now).err();
        self.rejected += u64::from(rejected.is_some());
        if matches!(rejected, Some(Cause::NoConnection { .. })) {
            // With `connect_at_start` off the first publish begins to connect.
            self.connect_if_idle(ctx);
        }
        PublishReply {
            shared: Rc::clone(&self.shared),
            request,
            rejected: rejected.map(|cause| PublishError::new(cause, Delivery::NotWritten)),
            when_full,
            now,
        }
    }
}

impl Producer {
    /// Whether a publish may be queued in the present state of the connection.
    fn may_queue(&self) -> bool {
        match self.config.wait_for_connection() {
            WaitForConnection::Always => true,
            WaitForConnection::First if self.link.connects() == 0 => true,
            WaitForConnection::First | WaitForConnection::Never => self.link.is_available(),
        }
    }

    /// Rejects a publish that must not be queued.
    #[inline(always)]
    fn check(&self, request: &PublishRequest, now: Instant) -> Result<(), Cause> {
        if self.drain.has_begun() {
            return Err(Cause::Drained);
        }
        if !self.may_queue() {
            let last = self.link.last_error().cloned();
            return Err(Cause::NoConnection { last });
        }
        request.check(&self.config, &self.denied_topics.borrow(), now)
    }
}

impl Handler<Frames> for Producer {
    type Result = ();

    fn handle(&mut self, Frames { id, oks, then }: Frames, ctx: &mut Context<Self>) {
        let now = self.burst.on_frames();
        let then = then.map(FrameList::into_frames).unwrap_or_default();
        let mut frames = std::iter::repeat_n(Frame::Ok, oks).chain(then);
        if !self.respond(id, &mut frames, now) {
            work(self, ctx, move |producer, _| {
                let now = producer.burst.now();
                producer.respond(id, &mut frames, now)
            });
        }
    }
}

impl Producer {
    /// Completes commands by frames as far as the budget allows. Returns whether no frame is left.
    fn respond(
        &mut self,
        id: ConnId,
        frames: &mut impl Iterator<Item = Frame>,
        now: Instant,
    ) -> bool {
        // Frames of an earlier connection respond to nothing.
        let Some(session) = self.link.session(id) else {
            return true;
        };
        let mut queue = self.shared.queue.borrow_mut();
        while queue.may_complete_oldest() {
            let Some(frame) = frames.next() else {
                return true;
            };
            if let Some((topic, error)) = session.on_frame(frame, &mut queue, now) {
                self.denied_topics.borrow_mut().on_error(topic, error, now);
            }
        }
        false
    }
}

impl Handler<Closed> for Producer {
    type Result = ();

    fn handle(&mut self, closed: Closed, ctx: &mut Context<Self>) {
        self.burst.on_connection_message();
        let now = now();
        if let Some(ended) = self.link.on_closed(closed, now) {
            self.on_disconnected(ended, now, ctx);
        }
    }
}

impl Handler<WaitConnected> for Producer {
    type Result = DeferredReply<Result<(), WaitError>>;

    fn handle(&mut self, message: WaitConnected, ctx: &mut Context<Self>) -> Self::Result {
        let now = self.on_message(ctx);
        self.waiters.add(message, now)
    }
}

impl Handler<Reconnect> for Producer {
    type Result = ();

    fn handle(&mut self, _: Reconnect, ctx: &mut Context<Self>) {
        self.on_message(ctx);
        self.reconnect((), ctx);
    }
}

impl Handler<Drain> for Producer {
    type Result = DeferredReply<DrainReport>;

    fn handle(
        &mut self,
        Drain { timeout }: Drain,
        ctx: &mut Context<Self>,
    ) -> DeferredReply<DrainReport> {
        let now = self.on_message(ctx);
        // Publishes whose callers have dropped their requests are not waited for.
        self.shared.queue.borrow_mut().remove_cancelled();
        if !self.drain.has_begun() {
            self.emit_event(|address| ProducerEvent::Draining { address });
            self.after_jobs(ctx, |producer, _| {
                producer.counters_before_drain = producer.shared.queue.borrow().counters();
            });
        }
        self.drain.begin(deadline_after(now, timeout))
    }
}

impl Handler<SubscribeEvents<ConnectionEvent>> for Producer {
    type Result = ();

    fn handle(
        &mut self,
        SubscribeEvents(to): SubscribeEvents<ConnectionEvent>,
        ctx: &mut Context<Self>,
    ) {
        self.on_message(ctx);
        let current = self.link.current_event();
        self.observers.connection.add(to, [current]);
        self.forget_subscribers_if_drained();
    }
}

impl Handler<SubscribeEvents<ProducerEvent>> for Producer {
    type Result = ();

    fn handle(
        &mut self,
        SubscribeEvents(to): SubscribeEvents<ProducerEvent>,
        ctx: &mut Context<Self>,
    ) {
        self.on_message(ctx);
        let address = self.link.shared_address();
        let current = match self.drain.report() {
            Some(&report) => ProducerEvent::Drained { address, report },
            None if self.drain.has_begun() => ProducerEvent::Draining { address },
            None => ProducerEvent::Accepting { address },
        };
        self.observers.producer.add(to, [current]);
        self.forget_subscribers_if_drained();
    }
}

impl Handler<Unsubscribe<ConnectionEvent>> for Producer {
    type Result = ();

    fn handle(&mut self, Unsubscribe(to): Unsubscribe<ConnectionEvent>, ctx: &mut Context<Self>) {
        self.on_message(ctx);
        self.observers.connection.remove(&to);
    }
}

impl Handler<Unsubscribe<ProducerEvent>> for Producer {
    type Result = ();

    fn handle(&mut self, Unsubscribe(to): Unsubscribe<ProducerEvent>, ctx: &mut Context<Self>) {
        self.on_message(ctx);
        self.observers.producer.remove(&to);
    }
}

impl Handler<GetState> for Producer {
    type Result = ProducerState;

    fn handle(&mut self, _: GetState, ctx: &mut Context<Self>) -> ProducerState {
        self.on_message(ctx);
        self.state()
    }
}

impl Handler<GetStats> for Producer {
    type Result = Stats;

    fn handle(&mut self, _: GetStats, ctx: &mut Context<Self>) -> Stats {
        self.on_message(ctx);
        let mut queue = self.shared.queue.borrow_mut();
        let mut counters = queue.counters();
        if self.membership.is_some() {
            // It was counted by the pool.
            counters.published = counters.answered() + queue.unanswered() as u64;
        }
        let Usage {
            publishes: queued,
            bytes: queued_bytes,
        } = queue.queued();
        let Usage {
            publishes: in_flight,
            bytes: in_flight_bytes,
        } = queue.in_flight();
        Stats {
            address: self.link.shared_address(),
            state: self.state(),
            published: counters.published + self.rejected,
            ok: counters.ok,
            not_written: counters.not_written + self.rejected,
            maybe_written: counters.maybe_written,
            maybe_partial: counters.maybe_partial,
            rejected: self.rejected,
            rejected_full: counters.rejected_full,
            timed_out: counters.timed_out,
            requeued: counters.requeued,
            commands: counters.commands,
            batches: counters.batches,
            batched: counters.batched,
            connects: self.link.connects(),
            disconnects: self.link.disconnects(),
            bytes_written: self.link.bytes_written(),
            queued,
            queued_bytes,
            in_flight,
            in_flight_bytes,
            waiting_for_capacity: queue.waiting_for_capacity(),
            latency: queue.latency(),
            last_error: self.link.last_error().cloned(),
            topics: if self.membership.is_some() {
                Vec::new()
            } else {
                queue.capacity().topic_stats()
            },
        }
    }
}

impl Handler<Ping> for Producer {
    type Result = DeferredReply<Result<(), PublishError>>;

    fn handle(&mut self, Ping { timeout }: Ping, ctx: &mut Context<Self>) -> Self::Result {
        let now = self.on_message(ctx);
        if self.drain.has_begun() {
            let error = PublishError::new(Cause::Drained, Delivery::NotWritten);
            return DeferredReply::now(Err(error));
        }
        let shared = Rc::clone(&self.shared);
        DeferredReply::later(move |sender| {
            // Without a caller a ping has no use.
            if let Some(sender) = sender {
                let reply = ReplyTo::Caller(sender);
                shared.queue.borrow_mut().ping(timeout, now, reply);
            }
        })
    }
}

impl Handler<TakeIn> for Producer {
    type Result = ();

    fn handle(&mut self, TakeIn(mut publishes): TakeIn, ctx: &mut Context<Self>) {
        self.on_message(ctx);
        let Some(membership) = &self.membership else {
            return;
        };
        let taken_in = &membership.view.taken_in;
        taken_in.set(taken_in.get() + publishes.len() as u64);
        membership.view.is_idle.set(false);
        for publish in publishes.iter_mut() {
            if let Some(reply) = publish.reply_mut() {
                reply.set_sink(&self.shared.failures);
            }
        }
        let spare = self.shared.queue.borrow_mut().take_in(publishes);
        membership.view.spare.replace(Some(spare));
    }
}

impl Handler<GiveBack> for Producer {
    type Result = ();

    fn handle(&mut self, _: GiveBack, ctx: &mut Context<Self>) {
        self.on_message(ctx);
        self.shared.queue.borrow_mut().give_back();
    }
}

impl Handler<SubscribeFailures> for Producer {
    type Result = ();

    fn handle(&mut self, SubscribeFailures(to): SubscribeFailures, ctx: &mut Context<Self>) {
        self.on_message(ctx);
        self.shared.failures.subscribe(to);
    }
}

impl Handler<Unsubscribe<PublishFailure>> for Producer {
    type Result = ();

    fn handle(&mut self, Unsubscribe(to): Unsubscribe<PublishFailure>, ctx: &mut Context<Self>) {
        self.on_message(ctx);
        self.shared.failures.unsubscribe(&to);
    }
}
