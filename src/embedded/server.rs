//! The thread of an embedded nsqd, its listener, and its port.

use std::{
    future, io,
    net::{Shutdown, SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    net::TcpStream,
    runtime, select,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task, time,
};

use super::{connection::serve, consuming::keep_time, state::Shared};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// The handle's side of the thread. The thread ends when this is dropped, and its sockets with it.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    gate: Option<UnboundedSender<Gate>>,
    open: bool,
    thread: Option<thread::JoinHandle<()>>,
    /// Bound, but never listening: while nobody listens, nobody else is given the port.
    _reservation: Option<Socket>,
}

/// Tells the thread to listen or to stop listening. Carried out when the sender in it is gone.
enum Gate {
    Open(TcpListener, mpsc::Sender<()>),
    Shut(mpsc::Sender<()>),
}

impl Server {
    /// Reserves the address and starts the thread; the gate is still shut.
    pub(super) fn start(address: SocketAddr, shared: Arc<Shared>) -> io::Result<Self> {
        let reservation = bind(address)?;
        let address = reservation.local_addr()?.as_socket().unwrap_or(address);
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let (gate, orders) = unbounded_channel();
        let thread = thread::Builder::new()
            .name(format!("embedded-nsqd-{}", address.port()))
            .spawn(move || runtime.block_on(accept(orders, shared)))?;
        Ok(Self {
            address,
            gate: Some(gate),
            open: false,
            thread: Some(thread),
            // Elsewhere a second socket may not be bound to the same address.
            _reservation: cfg!(target_os = "linux").then_some(reservation),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens or shuts the gate; it is done when this returns.
    pub(super) fn set_open(&mut self, open: bool) -> io::Result<()> {
        if open == self.open {
            return Ok(());
        }
        let (sender, done) = mpsc::channel();
        let order = if open {
            let socket = bind(self.address)?;
            socket.listen(BACKLOG)?;
            Gate::Open(socket.into(), sender)
        } else {
            Gate::Shut(sender)
        };
        if let Some(gate) = &self.gate {
            let _ = gate.send(order);
        }
        // Nothing is ever sent: the end of the channel is the answer.
        let _ = done.recv();
        self.open = open;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.gate.take());
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was reported by it, and a `drop` must not add another.
            let _ = thread.join();
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // The port is taken again at once, whatever connections of before still linger in the kernel.
    // (On Windows this option would let others take it, too, and is not needed.)
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

async fn accept(mut gate: UnboundedReceiver<Gate>, shared: Arc<Shared>) {
    task::spawn(keep_time(Arc::clone(&shared)));
    let mut listener = None;
    loop {
        select! {
            biased;
            order = gate.recv() => match order {
                Some(Gate::Open(socket, done)) => {
                    match tokio::net::TcpListener::from_std(socket) {
                        Ok(socket) => listener = Some(socket),
                        Err(error) => log::error!("the embedded nsqd cannot listen: {error}"),
                    }
                    drop(done);
                }
                Some(Gate::Shut(done)) => {
                    if let Some(listener) = listener.take() {
                        stop_listening(&listener);
                    }
                    drop(done);
                }
                None => return,
            },
            accepted = next_connection(listener.as_ref()) => match accepted {
                Ok((stream, peer)) => welcome(stream, peer, &shared),
                Err(error) => {
                    // Most likely no more file descriptors: the connection stays in the backlog, so
                    // do not spin.
                    log::warn!("the embedded nsqd cannot accept: {error}");
                    time::sleep(Duration::from_millis(20)).await;
                }
            },
        }
    }
}

/// A child process that is being started holds the socket, too, for a moment after it is closed here: it must not listen
/// then. (Where a listener cannot be shut down, closing it has to do.)
fn stop_listening(listener: &tokio::net::TcpListener) {
    let _ = SockRef::from(listener).shutdown(Shutdown::Both);
}

async fn next_connection(
    listener: Option<&tokio::net::TcpListener>,
) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => future::pending().await,
    }
}

fn welcome(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>) {
    // As Go does for every socket; where it fails the answers are only slower.
    let _ = stream.set_nodelay(true);
    let (orders, inbox) = unbounded_channel();
    let number = shared.state().opened(peer, orders);
    shared.news.send_replace(());
    task::spawn(serve(stream, number, inbox, Arc::clone(shared)));
}
