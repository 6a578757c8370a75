//! The connection to one destination: its start, and its outages. A pool is connected if one of its
//! nsqds is.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashSet},
    error::Error,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_nsq::{
    ConnectionError, ConnectionEvent, WaitError,
    actix::{Actor, Context, Handler},
};

use crate::{
    destination::{Destination, Publisher},
    failure::failure,
    policy::OnFailure,
    report::print_line,
};

/// Interval at which the first connection is checked.
const POLL: Duration = Duration::from_millis(50);

/// Outages that are shorter are not reported: nsqd closes the connection after each error.
const REPORTED: Duration = Duration::from_secs(1);

/// The connection to one destination.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) publisher: Publisher,
    /// The address, or those of the pool.
    name: String,
    /// Number of addresses.
    nsqds: usize,
    links: Rc<RefCell<Links>>,
    /// Start of the outage that was reported.
    reported: Cell<Option<Instant>>,
}

/// The state of the connections to all nsqds.
#[derive(Debug)]
struct Links {
    /// Addresses that are connected.
    up: HashSet<Arc<str>>,
    /// Since when there is none.
    down_since: Option<Instant>,
    /// The last failure of each address.
    failures: BTreeMap<Arc<str>, ConnectionError>,
}

impl Connection {
    /// Starts the producer.
    pub(crate) fn start(destination: &Destination) -> Self {
        let publisher = destination.start();
        let links = Rc::new(RefCell::new(Links {
            up: HashSet::new(),
            down_since: Some(Instant::now()),
            failures: BTreeMap::new(),
        }));
        let watcher = Watcher(Rc::clone(&links)).start();
        publisher.subscribe(watcher.recipient());
        let addresses = destination.addresses();
        Self {
            publisher,
            name: addresses.join(", "),
            nsqds: addresses.len(),
            links,
            reported: Cell::new(None),
        }
    }

    pub(crate) fn is_down(&self) -> bool {
        self.links.borrow().down_since.is_some()
    }

    /// Waits until a connection is made, or, unless `waits_for_outage`, until the first attempt at
    /// each nsqd has failed.
    ///
    /// Returns an error if none can be made and waiting does not help: then nothing is read.
    pub(crate) async fn first(&self, waits_for_outage: bool) -> Result<(), Box<dyn Error>> {
        loop {
            match self.publisher.wait_connected(POLL).await {
                Ok(()) => return Ok(()),
                Err(WaitError::Timeout { .. }) => {}
                Err(error) => return Err(failure(&self.name, &error).into()),
            }
            let failures = &self.links.borrow().failures;
            if failures.len() < self.nsqds {
                continue;
            }
            if !failures.values().any(is_outage) {
                let texts = failures
                    .iter()
                    .map(|(address, error)| failure(address, error));
                return Err(texts.collect::<Vec<_>>().join("; ").into());
            }
            if !waits_for_outage {
                return Ok(());
            }
        }
    }

    /// Reports the begin and the end of an outage, unless it is short.
    pub(crate) fn report_outage(&self, on_failure: OnFailure) {
        let name = &self.name;
        match (self.reported.get(), self.links.borrow().down_since) {
            (None, Some(since)) if since.elapsed() >= REPORTED => {
                self.reported.set(Some(since));
                let effect = match on_failure {
                    OnFailure::Retry => "the input waits",
                    OnFailure::Stop => "the program ends with the next record",
                    OnFailure::Skip => "records that time out are skipped",
                };
                print_line(format_args!("{name}: not connected; {effect}"));
            }
            (Some(since), None) => {
                self.reported.set(None);
                let seconds = since.elapsed().as_secs_f64();
                print_line(format_args!("{name}: connected again after {seconds:.1} s"));
            }
            _ => {}
        }
    }
}

/// Whether nsqd may be reachable later without a change of the settings. The server did not answer,
/// or the connection ended; every other error is an answer that will be the same later.
fn is_outage(error: &ConnectionError) -> bool {
    matches!(
        error,
        ConnectionError::ResolveTimeout { .. }
            | ConnectionError::Dial { .. }
            | ConnectionError::DialTimeout { .. }
            | ConnectionError::HandshakeTimeout { .. }
            | ConnectionError::HandshakeClosed
            | ConnectionError::ClosedByPeer
            | ConnectionError::Truncated
            | ConnectionError::Io(_)
            | ConnectionError::HeartbeatTimeout { .. }
            | ConnectionError::WriteTimeout { .. }
            | ConnectionError::ClosedLocally
    )
}

/// Notes the state of the connections.
struct Watcher(Rc<RefCell<Links>>);

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<ConnectionEvent> for Watcher {
    type Result = ();

    fn handle(&mut self, event: ConnectionEvent, _: &mut Context<Self>) {
        let mut links = self.0.borrow_mut();
        match event {
            ConnectionEvent::Connected { address, .. } => {
                links.up.insert(address);
                links.down_since = None;
                return;
            }
            ConnectionEvent::BackingOff {
                address,
                reason: Some(reason),
                ..
            } => {
                links.up.remove(&address);
                links.failures.insert(address, reason);
            }
            event => {
                links.up.remove(event.address());
            }
        }
        if links.up.is_empty() {
            links.down_since.get_or_insert_with(Instant::now);
        }
    }
}
