//! The handle of an embedded nsqd: start, stop, restart.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, mpsc},
};

use super::{
    EmbeddedNsqdBuilder, Faults,
    builder::Options,
    server::Server,
    state::{Order, Shared},
    topic::Topic,
};

/// An nsqd inside the process, for producers and consumers. It runs as long as this handle lives; dropping it closes every
/// socket.
///
/// It has a thread of its own, so it works from any runtime and from none, and goes on when the
/// caller's runtime is blocked or its clock is paused. Methods that are not `async` never wait for
/// a client, only, where they say so, for that thread.
///
/// ```
/// use actix_nsq::embedded::EmbeddedNsqd;
/// use std::{io::{Read, Write}, net::TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let nsqd = EmbeddedNsqd::start()?;
///
/// // Any NSQ client will do; here is one typed by hand.
/// let mut client = TcpStream::connect(nsqd.address())?;
/// client.write_all(b"  V2PUB greetings\n\0\0\0\x05hello")?;
/// let mut answer = [0; 10];
/// client.read_exact(&mut answer)?;
/// assert_eq!(&answer, b"\0\0\0\x06\0\0\0\0OK");
///
/// assert_eq!(nsqd.messages("greetings")[0].body, "hello");
/// # Ok(())
/// # }
/// ```
pub struct EmbeddedNsqd {
    pub(super) shared: Arc<Shared>,
    address: SocketAddr,
    server: Mutex<Server>,
}

impl EmbeddedNsqd {
    /// Starts one with nsqd's defaults on a free port of the loopback interface.
    ///
    /// # Errors
    ///
    /// When no socket or no thread is to be had.
    pub fn start() -> io::Result<Self> {
        Self::builder().start()
    }

    /// Sets one up.
    pub fn builder() -> EmbeddedNsqdBuilder {
        EmbeddedNsqdBuilder::new()
    }

    /// Where it listens. Stays the same over [`stop`](Self::stop) and [`restart`](Self::restart).
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What can go wrong with it.
    pub fn faults(&self) -> Faults<'_> {
        Faults::new(self)
    }

    /// Closes the listener and every connection, without a word to the clients, as an nsqd does
    /// that ends. It is done when this returns. Messages, counts and faults are kept, and the port
    /// stays reserved for [`restart`](Self::restart). As nsqd does on its disk, messages in flight
    /// and deferred ones go back into their channels' queues.
    pub fn stop(&self) {
        self.shared.state().stopped = true;
        // First the gate, so that no connection slips in behind the order. Shutting cannot fail.
        let _ = self.set_gate();
        self.order(Order::Close);
        let mut state = self.shared.state();
        state.topics.values_mut().for_each(Topic::flush);
        drop(state);
        self.shared.news.send_replace(());
    }

    /// Listens again after a [`stop`](Self::stop), on the same port.
    ///
    /// # Errors
    ///
    /// When the port cannot be had again; on Linux nobody else can take it.
    pub fn restart(&self) -> io::Result<()> {
        self.shared.state().stopped = false;
        self.set_gate()
    }

    pub(super) fn launch(address: SocketAddr, options: Options) -> io::Result<Self> {
        let shared = Shared::new(options);
        let server = Server::start(address, Arc::clone(&shared))?;
        let nsqd = Self {
            shared,
            address: server.address(),
            server: Mutex::new(server),
        };
        nsqd.set_gate()?;
        Ok(nsqd)
    }

    /// Opens or shuts the listener, as the state has it.
    pub(super) fn set_gate(&self) -> io::Result<()> {
        // Taken before the look at the state: of two callers the later one acts on the later state.
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let open = {
            let state = self.shared.state();
            !state.stopped && !state.misbehaviour.refuse
        };
        server.set_open(open)
    }

    /// Gives the order to every open connection, and waits until it is carried out.
    pub(super) fn order(&self, order: impl Fn(mpsc::Sender<()>) -> Order) {
        self.order_some(|_| true, order);
    }

    /// The same for the connections with these numbers.
    pub(super) fn order_some(
        &self,
        whom: impl Fn(u64) -> bool,
        order: impl Fn(mpsc::Sender<()>) -> Order,
    ) {
        let (sender, done) = mpsc::channel();
        let state = self.shared.state();
        for (_, connection) in state
            .connections
            .iter()
            .filter(|(number, _)| whom(**number))
        {
            if let Some(orders) = &connection.orders {
                // One that is just closing does not hear it, and needs not to.
                let _ = orders.send(order(sender.clone()));
            }
        }
        drop((state, sender));
        // Nothing is ever sent: the end of the channel is the answer.
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
