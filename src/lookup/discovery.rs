//! The actor that queries nsqlookupds, and its owner's handle.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message,
    SpawnHandle, WeakRecipient, WrapFuture,
};
use log::{error, info};

use super::{
    answer::Query,
    http::{Kept, Response},
    peer::Peer,
    rounds::{Decision, LookupdId, Rounds, Timing},
    state::{LookupEvent, LookupState, NodeState},
};
use crate::{
    config::{LookupConfig, LookupdAddress},
    error::{ConfigError, LookupError},
    link::now,
    protocol::node::Node,
};

/// What a discovery reports to its owner, in order.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Discovered(pub(crate) Vec<Change>);

#[derive(Debug)]
pub(crate) enum Change {
    /// Connect to a node, and repeat failed attempts with backoff until it is dropped. A node that
    /// is connected to, or is dialled, stays as it is.
    Dial(Node),
    /// What is known of a node has changed: its topics, or names.
    Changed(Node),
    /// Forget a node whose connection is down.
    Drop(Arc<str>),
    /// For the owner's subscribers.
    Event(LookupEvent),
}

/// The owner's handle of a discovery, which ends when it is dropped: running queries are cancelled.
pub(crate) struct Discovery {
    actor: Addr<Querier>,
}

impl Discovery {
    /// Starts a discovery on the current arbiter. It reports to `owner`, whose mailbox must be
    /// unlimited.
    pub(crate) fn start(
        config: LookupConfig,
        query: Query,
        owner: WeakRecipient<Discovered>,
    ) -> Self {
        let actor = Querier::create(|ctx| {
            ctx.set_mailbox_capacity(0);
            Querier::new(config, query, owner)
        });
        Self { actor }
    }

    /// A connection to a node that was to be dialled is up.
    pub(crate) fn connected(&self, address: Arc<str>) {
        self.actor.do_send(Report::Connected(address));
    }

    /// The connection to a node was lost. The owner dials it again after [`Change::Dial`].
    pub(crate) fn lost(&self, address: Arc<str>) {
        self.actor.do_send(Report::Lost(address));
    }

    /// The owner has closed the connection to a node, and wants no other one as long as the node is
    /// named.
    pub(crate) fn ignore(&self, address: Arc<str>) {
        self.actor.do_send(Report::Ignored(address));
    }

    /// Adds an nsqlookupd, unless it is there.
    ///
    /// # Errors
    ///
    /// Its address is invalid.
    pub(crate) fn add(&self, config: &LookupConfig, address: &str) -> Result<(), ConfigError> {
        let address = crate::config::lookupd_address(address)?;
        // Checks the TLS settings.
        config.stream_options(&address)?;
        self.actor.do_send(Add(address));
        Ok(())
    }

    /// Removes an nsqlookupd, and returns whether it was there.
    pub(crate) fn remove(&self, address: &str) -> impl Future<Output = bool> + use<> {
        let address = crate::config::lookupd_address(address);
        let actor = self.actor.clone();
        async move {
            match address {
                Ok(address) => actor.send(Remove(address)).await.unwrap_or(false),
                Err(_) => false,
            }
        }
    }

    /// Queries all nsqlookupds now; returns whether there are any.
    pub(crate) fn refresh(&self) -> impl Future<Output = bool> + use<> {
        let actor = self.actor.clone();
        async move { actor.send(StartRound).await.unwrap_or(false) }
    }

    /// Returns what is known.
    pub(crate) fn state(&self) -> impl Future<Output = LookupState> + use<> {
        let actor = self.actor.clone();
        async move { actor.send(GetState).await.unwrap_or_default() }
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.actor.do_send(Stop);
    }
}

/// What the owner reports of its connections.
#[derive(Message)]
#[rtype(result = "()")]
enum Report {
    Connected(Arc<str>),
    Lost(Arc<str>),
    Ignored(Arc<str>),
}

#[derive(Message)]
#[rtype(result = "()")]
struct Add(LookupdAddress);

#[derive(Message)]
#[rtype(result = "bool")]
struct Remove(LookupdAddress);

#[derive(Message)]
#[rtype(result = "bool")]
struct StartRound;

#[derive(Message)]
#[rtype(result = "LookupState")]
struct GetState;

#[derive(Message)]
#[rtype(result = "()")]
struct Stop;

/// Queries the nsqlookupds when [`Rounds`] says so.
struct Querier {
    config: LookupConfig,
    query: Query,
    owner: WeakRecipient<Discovered>,
    rounds: Rounds,
    lookupds: BTreeMap<LookupdId, Peer>,
    /// The queries that run.
    queries: BTreeMap<LookupdId, SpawnHandle>,
    timer: Option<SpawnHandle>,
    /// A node was found at some time.
    has_found: bool,
    changes: Vec<Change>,
}

impl Querier {
    fn new(config: LookupConfig, query: Query, owner: WeakRecipient<Discovered>) -> Self {
        let timing = Timing {
            interval: config.lookupd_poll_interval(),
            jitter: config.lookupd_poll_jitter(),
        };
        let mut actor = Self {
            query,
            owner,
            rounds: Rounds::new(timing, now()),
            lookupds: BTreeMap::new(),
            queries: BTreeMap::new(),
            timer: None,
            has_found: false,
            changes: Vec::new(),
            config,
        };
        for address in actor.config.addresses().to_vec() {
            actor.add(address);
        }
        actor
    }

    fn add(&mut self, address: LookupdAddress) {
        if self.by_address(&address).is_some() {
            return;
        }
        match Peer::new(&self.config, address, &self.query) {
            Ok(peer) => {
                let id = self.rounds.add(now());
                self.lookupds.insert(id, peer);
            }
            // The settings were checked before; only a file can have changed.
            Err(problem) => error!("nsqlookupd is not added: {problem}"),
        }
    }

    fn by_address(&self, address: &LookupdAddress) -> Option<LookupdId> {
        let mut lookupds = self.lookupds.iter();
        lookupds.find_map(|(id, peer)| (peer.address == *address).then_some(*id))
    }

    /// Starts the queries that are due, reports to the owner, and sets the timer.
    fn proceed(&mut self, ctx: &mut Context<Self>) {
        // The System ends: there are no timers any more.
        if tokio::runtime::Handle::try_current().is_err() {
            return ctx.stop();
        }
        for id in self.rounds.poll(now(), fastrand::f64()) {
            self.start_query(id, ctx);
        }
        self.report(ctx);
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(at) = self.rounds.deadline() {
            // A timer of tokio has a resolution of a millisecond.
            let delay = at
                .saturating_duration_since(now())
                .max(Duration::from_millis(1));
            self.timer = Some(ctx.run_later(delay, |actor, ctx| {
                actor.timer = None;
                actor.proceed(ctx);
            }));
        }
    }

    fn start_query(&mut self, id: LookupdId, ctx: &mut Context<Self>) {
        let Some(peer) = self.lookupds.get_mut(&id) else {
            return;
        };
        let (get, kept) = peer.begin();
        let query = async move { get.send(kept).await };
        let query = query
            .into_actor(self)
            .map(move |(result, kept), actor: &mut Self, ctx| {
                actor.on_result(id, result, kept, ctx);
            });
        self.queries.insert(id, ctx.spawn(query));
    }

    fn on_result(
        &mut self,
        id: LookupdId,
        result: Result<Response, LookupError>,
        kept: Option<Kept>,
        ctx: &mut Context<Self>,
    ) {
        self.queries.remove(&id);
        let Some(peer) = self.lookupds.get_mut(&id) else {
            return;
        };
        peer.kept = kept;
        let mut events = Vec::new();
        let config = &self.config;
        let accepts = |node: &Node| accepts(config, node);
        let answer = peer.end(&self.query, result, accepts, self.has_found, &mut events);
        self.has_found |= answer.as_ref().is_ok_and(|nodes| !nodes.is_empty());
        self.changes.extend(events.into_iter().map(Change::Event));
        self.rounds.on_answer(id, answer);
        self.proceed(ctx);
    }

    /// Reports the decisions to the owner. Ends with it.
    fn report(&mut self, ctx: &mut Context<Self>) {
        for decision in self.rounds.take_decisions() {
            match decision {
                Decision::Dial(node) => {
                    info!("{node}: named by nsqlookupd");
                    let event = LookupEvent::Found { node: node.clone() };
                    self.changes.push(Change::Event(event));
                    self.changes.push(Change::Dial(node));
                }
                Decision::Changed(node) => self.changes.push(Change::Changed(node)),
                Decision::Drop(address) => {
                    let event = LookupEvent::Dropped {
                        address: Arc::clone(&address),
                    };
                    info!("{event}");
                    self.changes.push(Change::Drop(address));
                    self.changes.push(Change::Event(event));
                }
            }
        }
        match self.owner.upgrade() {
            Some(_) if self.changes.is_empty() => {}
            Some(owner) => owner.do_send(Discovered(std::mem::take(&mut self.changes))),
            None => ctx.stop(),
        }
    }
}

/// Asks the filter of the program. One that panics does not accept.
fn accepts(config: &LookupConfig, node: &Node) -> bool {
    catch_unwind(AssertUnwindSafe(|| config.accepts(node))).unwrap_or(false)
}

impl Actor for Querier {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.proceed(ctx);
    }
}

impl Handler<Report> for Querier {
    type Result = ();

    fn handle(&mut self, report: Report, ctx: &mut Context<Self>) {
        match report {
            Report::Connected(address) => self.rounds.connected(&address),
            Report::Lost(address) => self.rounds.lost(&address, now()),
            Report::Ignored(address) => self.rounds.ignore(&address),
        }
        self.proceed(ctx);
    }
}

impl Handler<Add> for Querier {
    type Result = ();

    fn handle(&mut self, Add(address): Add, ctx: &mut Context<Self>) {
        self.add(address);
        self.proceed(ctx);
    }
}

impl Handler<Remove> for Querier {
    type Result = bool;

    fn handle(&mut self, Remove(address): Remove, ctx: &mut Context<Self>) -> bool {
        let Some(id) = self.by_address(&address) else {
            return false;
        };
        self.lookupds.remove(&id);
        if let Some(query) = self.queries.remove(&id) {
            ctx.cancel_future(query);
        }
        self.rounds.remove(id);
        self.proceed(ctx);
        true
    }
}

impl Handler<StartRound> for Querier {
    type Result = bool;

    fn handle(&mut self, _: StartRound, ctx: &mut Context<Self>) -> bool {
        self.rounds.refresh(now());
        self.proceed(ctx);
        !self.lookupds.is_empty()
    }
}

impl Handler<GetState> for Querier {
    type Result = actix::MessageResult<GetState>;

    fn handle(&mut self, _: GetState, _: &mut Context<Self>) -> Self::Result {
        let nodes = self.rounds.nodes();
        actix::MessageResult(LookupState {
            lookupds: self.lookupds.values().map(Peer::state).collect(),
            nodes: nodes
                .map(|(node, is_connected)| NodeState {
                    node: node.clone(),
                    is_connected,
                })
                .collect(),
        })
    }
}

impl Handler<Stop> for Querier {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}
