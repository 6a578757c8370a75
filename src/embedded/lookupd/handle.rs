//! The handle of an embedded nsqlookupd: addresses, stop, restart.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tokio::{task::AbortHandle, time::sleep_until};

use super::{
    registry::Registry,
    server::Server,
    state::{Connection, Format, Options, Shared},
};

/// An nsqlookupd inside the process, for consumers, pools and nsqds. Dropping it closes all
/// sockets.
///
/// It behaves like nsqlookupd 1.3.0. nsqds register over TCP: real ones
/// (`--lookupd-tcp-address`) and [`EmbeddedNsqd`](crate::embedded::EmbeddedNsqd); tests
/// [`register`](Self::register) nodes by hand. Like the embedded nsqd it runs on a thread of its
/// own, on the real clock.
///
/// ```
/// use std::{
///     io::{Read, Write},
///     net::TcpStream,
/// };
///
/// use actix_nsq::embedded::{EmbeddedLookupd, EmbeddedNsqd};
///
/// # fn main() -> std::io::Result<()> {
/// let nsqd = EmbeddedNsqd::start()?;
/// let lookupd = EmbeddedLookupd::start()?;
/// lookupd.register("orders", nsqd.address());
///
/// // The application under test queries `lookupd.http_address()`.
/// let mut client = TcpStream::connect(lookupd.http_address())?;
/// client.write_all(b"GET /lookup?topic=orders HTTP/1.0\r\n\r\n")?;
/// let mut response = String::new();
/// client.read_to_string(&mut response)?;
/// assert!(response.contains(&format!("\"tcp_port\":{}", nsqd.address().port())));
///
/// assert_eq!(lookupd.queries()[0].target, "/lookup?topic=orders");
/// # Ok(())
/// # }
/// ```
///
/// # Differences from nsqlookupd
///
/// - Nodes, topics and channels are sorted: nodes by the time of their registration, names
///   alphabetically. nsqlookupd returns them in any order.
/// - Responses have no `Date`. `/debug` and `/debug/pprof` do not exist. A request body in chunks
///   is rejected (501).
/// - A command of an nsqd is at most 16 MiB long. A negative size of an IDENTIFY, which ends the
///   process of nsqlookupd, counts as a large one.
pub struct EmbeddedLookupd {
    pub(super) shared: Arc<Shared>,
    http_address: SocketAddr,
    tcp_address: SocketAddr,
    server: Mutex<Server>,
}

impl EmbeddedLookupd {
    /// The address that clients query. [`stop`](Self::stop) and [`restart`](Self::restart) keep it.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// The address that nsqds register with. [`stop`](Self::stop) and [`restart`](Self::restart)
    /// keep it.
    pub fn tcp_address(&self) -> SocketAddr {
        self.tcp_address
    }

    /// Closes the listeners and all connections, and forgets all registrations, including those by
    /// hand, as an nsqlookupd that exits. Waits until that is done. Queries, counts, faults and the
    /// format of the answers are kept.
    pub fn stop(&self) {
        self.shared.state().stopped = true;
        // Closing cannot fail.
        let _ = self.update_listeners();
        self.shared
            .change(|state| state.registry = Registry::default());
    }

    /// Stops, if it is running, and listens again on the same ports. Nothing is registered: clients
    /// get 404 for every topic until each nsqd has connected again.
    ///
    /// # Errors
    ///
    /// If a port cannot be bound. On Linux it is reserved, so that no other process can take it.
    pub fn restart(&self) -> io::Result<()> {
        self.stop();
        self.shared.state().stopped = false;
        self.update_listeners()
    }

    /// Starts an nsqlookupd. `start` and `builder` call this.
    pub(super) fn launch(
        http: SocketAddr,
        tcp: SocketAddr,
        options: Options,
        format: Format,
    ) -> io::Result<Self> {
        let shared = Shared::new(options, format);
        let server = Server::start(http, tcp, Arc::clone(&shared))?;
        let lookupd = Self {
            shared,
            http_address: server.http.address(),
            tcp_address: server.tcp.address(),
            server: Mutex::new(server),
        };
        lookupd.update_listeners()?;
        Ok(lookupd)
    }

    /// Opens or closes the listeners according to the state.
    pub(super) fn update_listeners(&self) -> io::Result<()> {
        // Locked before the state is read, so that the last of several callers applies the last
        // state.
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let open = {
            let state = self.shared.state();
            !state.stopped && !state.faults.refuse_connections
        };
        server.http.set_open(open)?;
        server.tcp.set_open(open)
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

    /// Closes matching connections, and waits until that is done.
    pub(super) fn close_some(&self, matches: impl Fn(&Connection) -> bool) {
        let done = self.shared.state().close_connections(matches);
        // Nothing is sent: `recv` returns when all senders are dropped.
        let _ = done.recv();
    }
}

impl fmt::Debug for EmbeddedLookupd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedLookupd")
            .field("http_address", &self.http_address)
            .field("tcp_address", &self.tcp_address)
            .finish_non_exhaustive()
    }
}
