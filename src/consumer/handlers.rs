//! What the consumer does with each message.

use std::{sync::Arc, time::Instant};

use actix::{Context, Handler};

use super::{
    actor::Consumer,
    control::{AddNsqd, Pause, RemoveNsqd, Resume, SetMaxInFlight, WaitSubscribed},
    drain::{Drain, DrainReport},
    event::ConsumerEvent,
    messages::{Messages, Read},
    session::{Phase, Subscribed},
    stats::{ConsumerState, GetState, GetStats, IsStarved, NsqdStats, Stats},
};
use crate::{
    conn::{Closed, FrameList, Frames, Side},
    error::{AddNsqdError, ConnectionError, WaitError},
    link::{
        ConnectionEvent, DeferredReply, LinkOwner, LinkState, Pumped, SubscribeEvents, Unsubscribe,
        WaitConnected, deadline_after, now,
    },
    protocol::Frame,
};

impl Handler<Frames> for Consumer {
    type Result = ();

    fn handle(&mut self, Frames { id, oks, mut then }: Frames, _: &mut Context<Self>) {
        let now = self.burst.on_frames();
        // Frames of an earlier connection are stale.
        let Some(index) = self.nsqds.by_connection(id) else {
            return;
        };
        let Some(session) = self.nsqds.get_mut(index).and_then(|it| it.link.up_mut()) else {
            return;
        };
        if session.is_closing() && !session.state.is_read_after_loss() {
            // Nothing can be written any more; what nsqd rejected counts.
            let frames = then.iter_mut().flat_map(FrameList::drain);
            self.messages.on_last_frames(&session.state, frames);
            return;
        }
        let taken = take(
            &mut session.state,
            &mut self.messages,
            oks,
            then.as_mut(),
            now,
        );
        if session.state.last_message.is_some() {
            session.set_served();
        }
        if let Err(reason) = taken {
            self.close_connection(index, reason, now);
        }
    }
}

/// Takes the frames of a read.
///
/// # Errors
///
/// Why the connection is to be closed.
fn take(
    connection: &mut Subscribed,
    messages: &mut Messages,
    oks: usize,
    then: Option<&mut FrameList>,
    now: Instant,
) -> Result<(), ConnectionError> {
    for _ in 0..oks {
        let Phase::Subscribing { .. } = connection.phase else {
            return Err(unexpected(&Frame::Ok));
        };
        connection.phase = Phase::Subscribed;
        messages.open(connection, now);
        let address = Arc::clone(&connection.source.address);
        messages.events.push(ConsumerEvent::Subscribed { address });
    }
    let (mut read, mut problem) = (Read::default(), None);
    // No frame changes it.
    let is_subscribed = connection.is_subscribed();
    let mut frames = then.map(FrameList::drain);
    while let Some(frame) = frames.as_mut().and_then(Iterator::next) {
        match frame {
            Frame::Message(message) if is_subscribed => {
                // While nsqd is left, what no handler has is returned at the end of the burst.
                messages.receive(connection, message, &mut read, now);
            }
            Frame::CloseWait if connection.on_close_wait(now) => {}
            Frame::Error(error) if !error.code().is_fatal() => {
                messages.on_answer_failed(connection, error);
            }
            Frame::Error(error) => problem = Some(ConnectionError::Rejected(error)),
            other => problem = Some(unexpected(&other)),
        }
        if problem.is_some() {
            break;
        }
    }
    messages.end_read(connection, read, now)?;
    problem.map_or(Ok(()), Err)
}

fn unexpected(frame: &Frame) -> ConnectionError {
    ConnectionError::UnexpectedResponse {
        problem: format!("{frame} is not a response to a consumer"),
    }
}

impl Handler<Closed> for Consumer {
    type Result = ();

    fn handle(&mut self, closed: Closed, ctx: &mut Context<Self>) {
        self.burst.on_connection_message();
        let now = now();
        let Some(index) = self.nsqds.by_connection(closed.id) else {
            return;
        };
        let Some(link) = self.nsqds.get_mut(index).map(|nsqd| &mut nsqd.link) else {
            return;
        };
        let mut answers_in_drain = 0;
        if let Some(session) = link.up_mut() {
            if closed.side == Side::Writer && !session.is_closing() {
                // What nsqd has sent is still read: a killed nsqd may not deliver it again.
                self.messages.on_write_failed(&mut session.state);
            } else {
                self.messages.detach(&mut session.state);
            }
            answers_in_drain = session.state.answers_in_drain;
        }
        if let Some(ended) = link.on_closed(closed, now) {
            self.on_disconnected(index, &ended, answers_in_drain, ctx);
        }
    }
}

impl Handler<WaitSubscribed> for Consumer {
    type Result = DeferredReply<Result<(), WaitError>>;

    fn handle(
        &mut self,
        WaitSubscribed { timeout }: WaitSubscribed,
        ctx: &mut Context<Self>,
    ) -> Self::Result {
        let now = self.on_message(ctx);
        self.waiters.add(WaitConnected { timeout }, now)
    }
}

impl Handler<Drain> for Consumer {
    type Result = DeferredReply<DrainReport>;

    fn handle(&mut self, Drain { timeout }: Drain, ctx: &mut Context<Self>) -> Self::Result {
        let now = self.on_message(ctx);
        self.begin_drain(now, ctx);
        self.drain.begin(deadline_after(now, timeout))
    }
}

impl Handler<SetMaxInFlight> for Consumer {
    type Result = ();

    fn handle(&mut self, SetMaxInFlight(max): SetMaxInFlight, ctx: &mut Context<Self>) {
        self.on_message(ctx);
        self.max_in_flight = max;
        self.messages.set_max(max);
        for session in self.nsqds.sessions_mut() {
            session.state.largest_max = session.state.largest_max.max(max);
        }
    }
}

impl Handler<Pause> for Consumer {
    type Result = ();

    fn handle(&mut self, _: Pause, ctx: &mut Context<Self>) {
        self.on_message(ctx);
        self.is_paused = true;
        self.messages.flow.pause();
    }
}

impl Handler<Resume> for Consumer {
    type Result = ();

    fn handle(&mut self, _: Resume, ctx: &mut Context<Self>) {
        self.on_message(ctx);
        if !self.drain.has_begun() {
            self.is_paused = false;
            self.messages.is_handler_gone = false;
            self.messages.flow.resume();
        }
    }
}

impl Handler<AddNsqd> for Consumer {
    type Result = Result<(), AddNsqdError>;

    fn handle(&mut self, AddNsqd(address): AddNsqd, ctx: &mut Context<Self>) -> Self::Result {
        self.on_message(ctx);
        let options = self.config.conn_options(&address.as_str().into())?;
        if self.drain.has_begun() {
            return Err(AddNsqdError::Drained);
        }
        #[cfg(feature = "lookup")]
        self.discovering.on_added(&address);
        match self.nsqds.by_address(&address) {
            None => {
                let index = self.add_link(options);
                self.connect_now(index, ctx);
            }
            // One that was discovered is no longer dropped with its last announcement.
            #[cfg(feature = "lookup")]
            Some(index) => self.keep_discovered(index, ctx),
            #[cfg(not(feature = "lookup"))]
            Some(_) => {}
        }
        Ok(())
    }
}

impl Handler<RemoveNsqd> for Consumer {
    type Result = bool;

    fn handle(&mut self, RemoveNsqd(address): RemoveNsqd, ctx: &mut Context<Self>) -> bool {
        let now = self.on_message(ctx);
        #[cfg(feature = "lookup")]
        self.discovering.on_removed(&address);
        let Some(index) = self.nsqds.by_address(&address) else {
            return false;
        };
        if let Some(nsqd) = self.nsqds.get_mut(index) {
            nsqd.is_removed = true;
        }
        self.leave(index, now, ctx);
        true
    }
}

impl Handler<SubscribeEvents<ConnectionEvent>> for Consumer {
    type Result = ();

    fn handle(
        &mut self,
        SubscribeEvents(to): SubscribeEvents<ConnectionEvent>,
        ctx: &mut Context<Self>,
    ) {
        self.on_message(ctx);
        let current: Vec<_> = self
            .nsqds
            .iter()
            .map(|nsqd| nsqd.link.current_event())
            .collect();
        self.observers.connection.add(to, current);
        self.forget_subscribers_if_drained();
    }
}

impl Handler<SubscribeEvents<ConsumerEvent>> for Consumer {
    type Result = ();

    fn handle(
        &mut self,
        SubscribeEvents(to): SubscribeEvents<ConsumerEvent>,
        ctx: &mut Context<Self>,
    ) {
        self.on_message(ctx);
        let current = match self.drain.report() {
            Some(&report) => ConsumerEvent::Drained { report },
            None => ConsumerEvent::State {
                state: self.state(),
            },
        };
        self.observers.consumer.add(to, [current]);
        self.forget_subscribers_if_drained();
    }
}

impl Handler<Unsubscribe<ConnectionEvent>> for Consumer {
    type Result = ();

    fn handle(&mut self, Unsubscribe(to): Unsubscribe<ConnectionEvent>, ctx: &mut Context<Self>) {
        self.on_message(ctx);
        self.observers.connection.remove(&to);
    }
}

impl Handler<Unsubscribe<ConsumerEvent>> for Consumer {
    type Result = ();

    fn handle(&mut self, Unsubscribe(to): Unsubscribe<ConsumerEvent>, ctx: &mut Context<Self>) {
        self.on_message(ctx);
        self.observers.consumer.remove(&to);
    }
}

impl Handler<GetState> for Consumer {
    type Result = ConsumerState;

    fn handle(&mut self, _: GetState, ctx: &mut Context<Self>) -> ConsumerState {
        self.on_message(ctx);
        self.state()
    }
}

impl Handler<IsStarved> for Consumer {
    type Result = bool;

    fn handle(&mut self, _: IsStarved, ctx: &mut Context<Self>) -> bool {
        self.on_message(ctx);
        self.messages.flow.is_starved()
    }
}

impl Handler<GetStats> for Consumer {
    type Result = Stats;

    fn handle(&mut self, _: GetStats, ctx: &mut Context<Self>) -> Stats {
        let now = self.on_message(ctx);
        // What handlers have answered counts.
        self.messages.take_answers(now);
        self.messages.write_burst(&mut self.nsqds, now);
        let nsqds = self.nsqds.iter().filter(|nsqd| !nsqd.is_removed);
        Stats {
            topic: self.subscription.topic().clone(),
            channel: self.subscription.channel().clone(),
            state: self.state(),
            counters: self.messages.counters,
            waiting: self.messages.in_flight.waiting(),
            with_handlers: self.messages.in_flight.started(),
            backoff_level: self.messages.flow.backoff_level(),
            handling: self.messages.in_time.handling.clone(),
            nsqds: nsqds
                .map(|nsqd| {
                    let link = &nsqd.link;
                    let up = link.up().map(|session| &session.state);
                    let key = up.map(|it| it.key);
                    let is_subscribed = up.is_some_and(|it| it.phase == Phase::Subscribed);
                    NsqdStats {
                        address: link.shared_address(),
                        is_subscribed: is_subscribed && link.state() == LinkState::Connected,
                        rdy: key.map_or(0, |key| self.messages.flow.rdy(key)),
                        in_flight: key.map_or(0, |key| self.messages.in_flight.held(key)),
                        last_message: up
                            .and_then(|it| it.last_message)
                            .map(|at| now.saturating_duration_since(at)),
                        connects: link.connects(),
                        disconnects: link.disconnects(),
                        bytes_written: link.bytes_written(),
                        last_error: link.last_error().cloned(),
                    }
                })
                .collect(),
        }
    }
}
