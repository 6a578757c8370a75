//! The connection to one nsqd: its start, and its outages.

use std::{
    cell::Cell,
    error::Error,
    rc::Rc,
    time::{Duration, Instant},
};

use actix_nsq::{
    ConnectionError, ConnectionEvent, ProducerConfig, ProducerHandle, WaitError,
    actix::{Actor, Context, Handler},
};

use crate::{policy::OnFailure, report::print_line};

/// Interval at which the first connection is checked.
const POLL: Duration = Duration::from_millis(50);

/// Outages that are shorter are not reported: nsqd closes the connection after each error.
const REPORTED: Duration = Duration::from_secs(1);

/// The connection to one nsqd.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) nsqd: ProducerHandle,
    address: String,
    down_since: Rc<Cell<Option<Instant>>>,
    /// Start of the outage that was reported.
    reported: Cell<Option<Instant>>,
}

impl Connection {
    /// Starts the producer.
    pub(crate) fn start(config: &ProducerConfig) -> Self {
        let nsqd = ProducerHandle::start(config.clone());
        let down_since = Rc::new(Cell::new(Some(Instant::now())));
        let watcher = Watcher(Rc::clone(&down_since)).start();
        nsqd.subscribe::<ConnectionEvent>(watcher.recipient());
        Self {
            nsqd,
            address: config.address().to_owned(),
            down_since,
            reported: Cell::new(None),
        }
    }

    pub(crate) fn is_down(&self) -> bool {
        self.down_since.get().is_some()
    }

    /// Waits until the connection is made, or, unless `waits_for_outage`, until the first attempt
    /// has failed.
    ///
    /// Returns an error if it cannot be made and waiting does not help: then nothing is read.
    pub(crate) async fn first(&self, waits_for_outage: bool) -> Result<(), Box<dyn Error>> {
        loop {
            match self.nsqd.wait_connected(POLL).await {
                Ok(()) => return Ok(()),
                Err(WaitError::Timeout { last: None, .. }) => {}
                Err(WaitError::Timeout {
                    last: Some(error), ..
                }) => {
                    if !is_outage(&error) {
                        return Err(self.failure(&error));
                    }
                    if !waits_for_outage {
                        return Ok(());
                    }
                }
                Err(error) => return Err(self.failure(&error)),
            }
        }
    }

    /// The text has the address once.
    fn failure(&self, error: &dyn Error) -> Box<dyn Error> {
        let text = error.to_string();
        if text.contains(&self.address) {
            text.into()
        } else {
            format!("{}: {text}", self.address).into()
        }
    }

    /// Reports the begin and the end of an outage, unless it is short.
    pub(crate) fn report_outage(&self, on_failure: OnFailure) {
        let address = &self.address;
        match (self.reported.get(), self.down_since.get()) {
            (None, Some(since)) if since.elapsed() >= REPORTED => {
                self.reported.set(Some(since));
                let effect = match on_failure {
                    OnFailure::Retry => "the input waits",
                    OnFailure::Stop => "the program ends with the next record",
                    OnFailure::Skip => "records that time out are skipped",
                };
                print_line(format_args!("{address}: not connected; {effect}"));
            }
            (Some(since), None) => {
                self.reported.set(None);
                let seconds = since.elapsed().as_secs_f64();
                print_line(format_args!(
                    "{address}: connected again after {seconds:.1} s"
                ));
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

/// Notes since when there is no connection.
struct Watcher(Rc<Cell<Option<Instant>>>);

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<ConnectionEvent> for Watcher {
    type Result = ();

    fn handle(&mut self, event: ConnectionEvent, _: &mut Context<Self>) {
        let since = match event {
            ConnectionEvent::Connected { .. } => None,
            _ => Some(self.0.get().unwrap_or_else(Instant::now)),
        };
        self.0.set(since);
    }
}
