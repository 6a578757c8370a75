//! The producer's link to nsqd: dialled, up, lost and settled.

use std::{rc::Rc, time::Duration};

use actix::{ActorContext, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture, fut};
use log::{Level, log};
use tokio::time::sleep;

use super::{
    ConnectionEvent, Producer, now,
    queue::DisconnectOutcome,
    session::{Session, Settled},
};
use crate::{
    conn::{Closed, Conn, ConnId, Connected, Frames, connect},
    error::ConnectionError,
    protocol::{Frame, IdentifyResponse, one_line},
};

/// After a refusal the next connection is dialled so soon: the refusal was no sign of trouble, and others wait.
const AFTER_REFUSAL: Duration = Duration::from_millis(20);

/// A connection that lived so long was a good one, and the next backoff starts over. One on which nsqd has answered `OK`
/// need not live longer than the first delay, and not even that when it ends with a refusal.
const GOOD_LIFE: Duration = Duration::from_secs(1);

/// Where a producer's connection is; see the picture at [`Producer`].
pub(super) enum Link {
    Idle,
    BackingOff,
    Dialling,
    Up(Box<Session>),
    Drained,
}

impl Producer {
    /// Waits out a delay, then dials; publishes are accepted and timed meanwhile as at any other moment.
    pub(super) fn dial(&mut self, delay: Duration, ctx: &mut Context<Self>) {
        if delay.is_zero() {
            return self.dial_now(ctx);
        }
        self.link = Link::BackingOff;
        let failed = self.backoff.attempt();
        self.tell(|address| ConnectionEvent::BackingOff {
            address,
            delay,
            failed,
        });
        ctx.spawn(
            sleep(delay)
                .into_actor(self)
                .map(|(), producer, ctx| producer.dial_now(ctx)),
        );
    }

    fn dial_now(&mut self, ctx: &mut Context<Self>) {
        self.link = Link::Dialling;
        let failed = self.backoff.attempt();
        self.tell(|address| ConnectionEvent::Connecting { address, failed });
        let options = self.config.conn_options();
        let dial = async move { connect(&options).await };
        ctx.spawn(
            dial.into_actor(self)
                .map(|dialled, producer, ctx| producer.dialled(dialled, ctx)),
        );
    }

    fn dialled(&mut self, dialled: Result<Connected, ConnectionError>, ctx: &mut Context<Self>) {
        match dialled {
            Ok(connected) => {
                let negotiated = connected.negotiated.clone();
                let auth = connected.auth.clone();
                self.log(Level::Info, &welcome(&negotiated));
                self.desk
                    .queue
                    .borrow_mut()
                    .on_connected(connected.round_trip);
                let conn = Conn::open(connected, &self.config.conn_options(), ctx);
                self.link = Link::Up(Box::new(Session::new(conn, now())));
                self.watched.connects += 1;
                self.tell(|address| ConnectionEvent::Connected {
                    address,
                    negotiated: negotiated.clone(),
                    auth: auth.clone(),
                });
                // The tail was polled before this, and must be again: to hand over what waits, and to set its timer
                // by what is in flight then. A new item has all of them polled once more.
                ctx.spawn(fut::ready(()));
            }
            Err(reason) => {
                let delay = self.next_delay(&reason);
                self.quiet = false;
                self.log(
                    Level::Warn,
                    &format!("{reason}; attempt {} in {delay:?}", self.backoff.attempt()),
                );
                self.last = Some(reason);
                self.desk.queue.borrow_mut().forget_server_limits();
                self.dial(delay, ctx);
            }
        }
    }

    /// A delay that is never nothing, since nothing stands for dialling at once.
    fn next_delay(&mut self, reason: &ConnectionError) -> Duration {
        if reason.is_lasting() {
            self.backoff.skip_to_the_cap();
        }
        self.backoff
            .next_delay(fastrand::f64())
            .max(Duration::from_millis(1))
    }

    /// Makes a new connection in place of the one that is there, or at once where one is waited for.
    pub(super) fn reconnect(&mut self, ctx: &mut Context<Self>) {
        match &mut self.link {
            Link::Up(session) => session.leave(),
            Link::BackingOff => {
                // The next life dials at once, and forgets the wait of this one.
                self.delay = Duration::ZERO;
                ctx.stop();
            }
            Link::Idle => self.dial_now(ctx),
            Link::Dialling | Link::Drained => {}
        }
    }

    fn log(&self, level: Level, news: &str) {
        let level = if self.quiet { Level::Debug } else { level };
        log!(level, "{}: {news}", self.config.address());
    }

    fn session(&mut self, id: ConnId) -> Option<&mut Session> {
        match &mut self.link {
            Link::Up(session) if session.id() == id => Some(session),
            _ => None,
        }
    }

    /// Both sides of the connection have ended: settles what was in flight, and restarts.
    fn settle(&mut self, ctx: &mut Context<Self>) {
        let now = now();
        let drained = self.drainage.is_over(self.is_outstanding(), now);
        let Link::Up(session) = std::mem::replace(&mut self.link, Link::Idle) else {
            return;
        };
        let settled = session.settle(&mut self.desk.queue.borrow_mut(), drained);
        self.watched.bytes += settled.taken;
        if drained {
            return self.finish_drain(ctx);
        }
        let Settled {
            reason,
            settlement,
            refused,
            served,
            leaving,
            lived,
            ..
        } = settled;
        self.watched.losses += 1;
        let good_life = if served {
            GOOD_LIFE.min(self.config.reconnect_backoff())
        } else {
            GOOD_LIFE
        };
        // Who answers some and refuses another is well, however soon. Under load a part of such refusals is lost in a reset,
        // and looks like trouble: without this their delays would add up.
        let well = refused && served;
        if well || lived >= good_life {
            self.backoff.reset();
        }
        self.delay = match (leaving, well) {
            (true, _) => Duration::ZERO,
            (_, true) => AFTER_REFUSAL,
            _ => self.next_delay(&reason),
        };
        // Whoever was refused has been told, but not what to do about all of them.
        self.quiet = refused && !reason.is_lasting();
        let (level, what) = match leaving {
            true => (Level::Info, "connection left"),
            false => (Level::Warn, "connection lost"),
        };
        self.log(
            level,
            &format!("{what}: {reason}; connecting again in {:?}", self.delay),
        );
        let DisconnectOutcome {
            requeued: resent,
            maybe_written: unknown,
        } = settlement;
        self.tell(|address| ConnectionEvent::Lost {
            address,
            why: reason.clone(),
            resent,
            unknown,
        });
        self.last = Some(reason);
        ctx.stop();
    }
}

/// What is connected to, and through what.
fn welcome(negotiated: &IdentifyResponse) -> String {
    // The peer's own words.
    let version = one_line(negotiated.version.chars(), 64);
    let layers: Vec<_> = [
        (negotiated.tls_v1, "TLS"),
        (negotiated.snappy, "snappy"),
        (negotiated.deflate, "deflate"),
    ]
    .into_iter()
    .filter_map(|(in_force, layer)| in_force.then_some(layer))
    .collect();
    match layers.is_empty() {
        true => format!("connected to nsqd {version}"),
        false => format!("connected to nsqd {version}, {}", layers.join(" and ")),
    }
}

impl Handler<Frames> for Producer {
    type Result = ();

    fn handle(&mut self, Frames { id, oks, then }: Frames, _: &mut Context<Self>) {
        self.handled += 1;
        let now = *self.now.get_or_insert_with(now);
        let desk = Rc::clone(&self.desk);
        // Of another connection: a late echo, which answers nothing.
        let Some(session) = self.session(id) else {
            return;
        };
        let mut queue = desk.queue.borrow_mut();
        let mut verdict = None;
        for frame in std::iter::repeat_n(Frame::Ok, oks).chain(then) {
            verdict = session.hear(frame, &mut queue, now).or(verdict);
        }
        if let Some((topic, refusal)) = verdict {
            self.forbidden.note(topic, &refusal, now);
        }
    }
}

impl Handler<Closed> for Producer {
    type Result = ();

    fn handle(&mut self, ended: Closed, ctx: &mut Context<Self>) {
        self.handled += 1;
        if self
            .session(ended.id)
            .is_some_and(|session| session.ended(ended, now()))
        {
            self.settle(ctx);
        }
    }
}
