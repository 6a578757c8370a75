//! A second owner of links: an actor with one link to each of three nsqds, as a consumer has.

use std::{
    cell::RefCell,
    rc::Rc,
    task::Context as TaskContext,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, MessageResult};

use super::{Burst, ConnectionEvent, Link, LinkOwner, LinkState, Pump, Pumped, Subscribers, now};
use crate::{
    config::ProducerConfig,
    conn::{Closed, Connected, Frames},
    embedded::EmbeddedNsqd,
    error::ConnectionError,
};

/// An actor with many links. A lost connection does not restart it.
struct Owner {
    links: Vec<Link<()>>,
    subscribers: Subscribers<ConnectionEvent>,
    burst: Burst,
    ended: Rc<RefCell<Vec<usize>>>,
}

impl Owner {
    fn new(nsqds: &[EmbeddedNsqd], ended: Rc<RefCell<Vec<usize>>>) -> Self {
        let link = |nsqd: &EmbeddedNsqd| {
            let config = ProducerConfig::new(nsqd.address().to_string()).unwrap();
            Link::new(
                config.conn_options(),
                Duration::from_millis(1),
                Duration::from_millis(1),
            )
        };
        Self {
            links: nsqds.iter().map(link).collect(),
            subscribers: Subscribers::default(),
            burst: Burst::default(),
            ended,
        }
    }
}

impl Actor for Owner {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.spawn(Pump::default());
        for key in 0..self.links.len() {
            self.connect(key, Duration::ZERO, ctx);
        }
    }
}

impl Pumped for Owner {
    fn burst(&mut self) -> &mut Burst {
        &mut self.burst
    }

    fn flush(&mut self, _: Instant, _: Option<Instant>, _: &mut Context<Self>) {}

    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    fn is_busy(&self) -> bool {
        false
    }

    fn poll_subscribers(&mut self, cx: &mut TaskContext<'_>) {
        self.subscribers.poll(cx);
    }

    fn remove_cancelled(&mut self) {}

    fn stop_unused(&mut self, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

impl LinkOwner for Owner {
    type Key = usize;
    type Session = ();

    fn link(&mut self, key: usize) -> Option<&mut Link<()>> {
        self.links.get_mut(key)
    }

    fn connection_subscribers(&mut self) -> &mut Subscribers<ConnectionEvent> {
        &mut self.subscribers
    }

    fn on_connected(&mut self, _: usize, _: &Connected, _: Instant) {}

    fn on_connect_failed(&mut self, _: usize) {}
}

impl Handler<Frames> for Owner {
    type Result = ();

    fn handle(&mut self, _: Frames, _: &mut Context<Self>) {
        self.burst.on_frames();
    }
}

impl Handler<Closed> for Owner {
    type Result = ();

    fn handle(&mut self, closed: Closed, ctx: &mut Context<Self>) {
        let now = self.on_message(ctx);
        let mut links = self.links.iter_mut();
        let Some(key) = links.position(|link| link.session(closed.id).is_some()) else {
            return;
        };
        let Some(ended) = self.links[key].on_closed(closed, now) else {
            return;
        };
        self.ended.borrow_mut().push(key);
        if ended.reason.to_string() == ConnectionError::ClosedLocally.to_string() {
            self.links[key].close(ctx);
            return;
        }
        let delay = self.links[key].after_end(&ended);
        let address = self.links[key].shared_address();
        let reason = ended.reason;
        self.emit(key, ConnectionEvent::Disconnected { address, reason });
        self.connect(key, delay, ctx);
    }
}

#[derive(Message)]
#[rtype(result = "Vec<(LinkState, u64)>")]
struct States;

impl Handler<States> for Owner {
    type Result = Vec<(LinkState, u64)>;

    fn handle(&mut self, _: States, ctx: &mut Context<Self>) -> Vec<(LinkState, u64)> {
        self.on_message(ctx);
        let state = |link: &Link<()>| (link.state(), link.connects());
        self.links.iter().map(state).collect()
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct CloseAll;

impl Handler<CloseAll> for Owner {
    type Result = ();

    fn handle(&mut self, _: CloseAll, _: &mut Context<Self>) {
        for link in &mut self.links {
            if let Some(session) = link.up_mut() {
                session.abort(ConnectionError::ClosedLocally, now());
            }
        }
    }
}

/// Closes the first link, and then tries to connect it.
#[derive(Message)]
#[rtype(result = "LinkState")]
struct CloseIdle;

impl Handler<CloseIdle> for Owner {
    type Result = MessageResult<CloseIdle>;

    fn handle(&mut self, _: CloseIdle, ctx: &mut Context<Self>) -> Self::Result {
        self.links[0].close(ctx);
        self.connect_now(0, ctx);
        self.connect(0, Duration::from_millis(1), ctx);
        MessageResult(self.links[0].state())
    }
}

/// Waits until the owner's links have these states and numbers of connections.
async fn reaches(owner: &actix::Addr<Owner>, wanted: &[(LinkState, u64)]) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let states = owner.send(States).await.unwrap();
        if states == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{states:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[actix::test]
async fn owner_of_three_links_keeps_two_when_one_is_lost() {
    use LinkState::{Closed, Connected};
    let nsqds: Vec<_> = (0..3).map(|_| EmbeddedNsqd::start().unwrap()).collect();
    let ended = Rc::new(RefCell::new(Vec::new()));
    let owner = Owner::new(&nsqds, Rc::clone(&ended)).start();
    reaches(&owner, &[(Connected, 1); 3]).await;

    nsqds[1].stop();
    nsqds[1].restart().unwrap();
    reaches(&owner, &[(Connected, 1), (Connected, 2), (Connected, 1)]).await;
    assert_eq!(*ended.borrow(), [1]);

    owner.send(CloseAll).await.unwrap();
    reaches(&owner, &[(Closed, 1), (Closed, 2), (Closed, 1)]).await;
    for nsqd in &nsqds {
        let closed = nsqd.wait_for_connections(0, Duration::from_secs(20)).await;
        closed.unwrap();
    }
    let mut ended = ended.take();
    ended.sort_unstable();
    assert_eq!(ended, [0, 1, 1, 2]);
}

#[actix::test]
async fn closed_link_does_not_connect_again() {
    let nsqd = EmbeddedNsqd::start().unwrap();
    nsqd.stop();
    let owner = Owner::new(&[nsqd], Rc::default()).start();
    reaches(&owner, &[(LinkState::BackingOff, 0)]).await;
    assert_eq!(owner.send(CloseIdle).await.unwrap(), LinkState::Closed);
}
