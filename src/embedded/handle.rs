//! The handle of an embedded nsqd: address, stop, restart.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Instant,
};

use tokio::{task::AbortHandle, time::sleep_until};

use super::{
    listener::Port,
    options::Options,
    registration::Registrar,
    server::Server,
    state::{Control, Shared},
    topic::{Topic, unix_time},
};

/// An nsqd inside the process, for producers and consumers. Dropping it closes all sockets.
///
/// It runs on a thread of its own, so it works with any async runtime and without one, and keeps
/// running while the caller's runtime is blocked or its clock is paused. Methods that are not
/// `async` never wait for a client; some wait for the thread, and say so.
///
/// ```
/// use std::{
///     io::{Read, Write},
///     net::TcpStream,
/// };
///
/// use actix_nsq::embedded::EmbeddedNsqd;
///
/// # fn main() -> std::io::Result<()> {
/// let nsqd = EmbeddedNsqd::start()?;
///
/// // Any NSQ client works; this one is written by hand.
/// let mut client = TcpStream::connect(nsqd.address())?;
/// client.write_all(b"  V2PUB greetings\n\0\0\0\x05hello")?;
/// let mut response = [0; 10];
/// client.read_exact(&mut response)?;
/// assert_eq!(&response, b"\0\0\0\x06\0\0\0\0OK");
///
/// assert_eq!(nsqd.messages("greetings")[0].body, "hello");
/// # Ok(())
/// # }
/// ```
pub struct EmbeddedNsqd {
    pub(super) shared: Arc<Shared>,
    address: SocketAddr,
    http_address: Option<SocketAddr>,
    server: Mutex<Server>,
}

impl EmbeddedNsqd {
    /// The address that it listens on. [`stop`](Self::stop) and [`restart`](Self::restart) keep it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of its HTTP API, if
    /// [`http_address`](super::EmbeddedNsqdBuilder::http_address) was set.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Closes the listeners and all connections, without a message to the clients, as an nsqd that
    /// exits. Waits until that is done.
    ///
    /// Keeps messages, statistics and faults, and reserves the ports for
    /// [`restart`](Self::restart). Messages in flight and deferred messages return to the queues of
    /// their channels, as in nsqd.
    pub fn stop(&self) {
        self.shared.state().stopped = true;
        // First the listener, so that no connection is opened after the others are closed. Closing
        // cannot fail.
        let _ = self.update_listener();
        self.control_all(Control::Close);
        let mut state = self.shared.state();
        state.topics.values_mut().for_each(Topic::flush);
        drop(state);
        self.shared.changes.send_replace(());
        self.shared.fault_changes.send_replace(());
    }

    /// Listens again on the same ports after [`stop`](Self::stop). Waits until that is done.
    ///
    /// # Errors
    ///
    /// If a port cannot be bound. On Linux it is reserved, so that no other process can take it.
    pub fn restart(&self) -> io::Result<()> {
        let mut state = self.shared.state();
        if std::mem::take(&mut state.stopped) {
            state.started = unix_time().as_secs();
        }
        drop(state);
        let updated = self.update_listener();
        self.shared.fault_changes.send_replace(());
        updated
    }

    /// Starts an nsqd. `start` and `builder` call this.
    pub(super) fn launch(
        address: SocketAddr,
        http_address: Option<SocketAddr>,
        options: Options,
    ) -> io::Result<Self> {
        let lookupds = options.registration.lookupds.len();
        let (registrar, requests) = match lookupds {
            0 => (Registrar::default(), None),
            lookupds => {
                let (registrar, requests) = Registrar::new(lookupds);
                (registrar, Some(requests))
            }
        };
        let shared = Shared::new(options, registrar);
        shared.state().started = unix_time().as_secs();
        let server = Server::start(address, http_address, Arc::clone(&shared), requests)?;
        let nsqd = Self {
            shared,
            address: server.tcp.address(),
            http_address: server.http.as_ref().map(Port::address),
            server: Mutex::new(server),
        };
        nsqd.update_listener()?;
        Ok(nsqd)
    }

    /// Opens or closes the listeners according to the state.
    pub(super) fn update_listener(&self) -> io::Result<()> {
        // Locked before the state is read, so that the last of several callers applies the last
        // state.
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let (running, refusing) = {
            let state = self.shared.state();
            (!state.stopped, state.faults.refuse_connections)
        };
        if let Some(http) = &mut server.http {
            http.set_open(running)?;
        }
        server.tcp.set_open(running && !refusing)
    }

    /// Notifies the waiting methods at this time. The clock of the caller may be paused.
    pub(super) fn notify_at(&self, deadline: Instant) -> AbortHandle {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = Arc::clone(&self.shared);
        server.spawn(async move {
            sleep_until(deadline.into()).await;
            shared.changes.send_replace(());
        })
    }

    /// Sends a request to all open connections, and waits until they have executed it.
    pub(super) fn control_all(&self, request: impl Fn(mpsc::Sender<()>) -> Control) {
        self.control_some(|_| true, request);
    }

    /// Sends a request to the connections with matching numbers, and waits until they have executed
    /// it.
    pub(super) fn control_some(
        &self,
        matches: impl Fn(u64) -> bool,
        request: impl Fn(mpsc::Sender<()>) -> Control,
    ) {
        let (sender, done) = mpsc::channel();
        let state = self.shared.state();
        for (_, connection) in state
            .connections
            .iter()
            .filter(|(number, _)| matches(**number))
        {
            if let Some(control) = &connection.control {
                // Fails if the connection is being closed, which is fine.
                let _ = control.send(request(sender.clone()));
            }
        }
        drop((state, sender));
        // Nothing is sent: `recv` returns when all senders are dropped.
        let _ = done.recv();
    }
}

impl fmt::Debug for EmbeddedNsqd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedNsqd")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
