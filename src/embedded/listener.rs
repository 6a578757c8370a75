//! A port of an embedded server: reserved, opened and closed while its address stays the same.

use std::{
    future, io,
    net::{Shutdown, SocketAddr, TcpListener},
    sync::mpsc,
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    net::TcpStream,
    select,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time,
};

/// Maximum number of connections that wait to be accepted: enough for the connection storms of the
/// tests.
const BACKLOG: i32 = 1024;

/// Pause after a failed accept, which is most likely a lack of file descriptors: prevents a busy
/// loop while the connection stays in the backlog.
const ACCEPT_RETRY: Duration = Duration::from_millis(20);

/// A port on which the thread can listen.
#[derive(Debug)]
pub(super) struct Port {
    address: SocketAddr,
    listener: Option<UnboundedSender<ListenerRequest>>,
    open: bool,
    /// Bound but never listening, so that no other process gets the port while nsqd is stopped.
    _reservation: Option<Socket>,
}

/// Asks the thread to listen or to stop listening. It drops the contained sender when that is done.
pub(super) enum ListenerRequest {
    Open(TcpListener, mpsc::Sender<()>),
    Close(mpsc::Sender<()>),
}

impl Port {
    /// Binds a port without listening, and returns the requests for [`accept`].
    pub(super) fn reserve(
        address: SocketAddr,
    ) -> io::Result<(Self, UnboundedReceiver<ListenerRequest>)> {
        let reservation = bind(address)?;
        let address = reservation.local_addr()?.as_socket().unwrap_or(address);
        let (listener, requests) = unbounded_channel();
        let port = Self {
            address,
            listener: Some(listener),
            open: false,
            // Other systems may not allow a second socket on the same address.
            _reservation: cfg!(target_os = "linux").then_some(reservation),
        };
        Ok((port, requests))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends [`accept`] with the tasks of its set.
    pub(super) fn end(&mut self) {
        drop(self.listener.take());
    }

    /// Starts or stops listening, and waits until that is done.
    pub(super) fn set_open(&mut self, open: bool) -> io::Result<()> {
        if open == self.open {
            return Ok(());
        }
        let (sender, done) = mpsc::channel();
        let request = if open {
            let socket = bind(self.address)?;
            socket.listen(BACKLOG)?;
            ListenerRequest::Open(socket.into(), sender)
        } else {
            ListenerRequest::Close(sender)
        };
        if let Some(listener) = &self.listener {
            let _ = listener.send(request);
        }
        // Nothing is sent: `recv` returns when the sender is dropped.
        let _ = done.recv();
        self.open = open;
        Ok(())
    }
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Allows to reuse the port while old connections linger in the kernel. Windows does not need
    // this option, and would let other processes share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Accepts connections while the port is open. The tasks in the set end when it is closed.
pub(super) async fn accept(
    name: &str,
    mut requests: UnboundedReceiver<ListenerRequest>,
    serve: impl Fn(TcpStream, SocketAddr, &mut JoinSet<()>),
) {
    let mut connections = JoinSet::new();
    let mut listener = None;
    loop {
        select! {
            biased;
            request = requests.recv() => match request {
                Some(ListenerRequest::Open(socket, done)) => {
                    match tokio::net::TcpListener::from_std(socket) {
                        Ok(socket) => listener = Some(socket),
                        Err(error) => log::error!("{name}: cannot listen: {error}"),
                    }
                    drop(done);
                }
                Some(ListenerRequest::Close(done)) => {
                    if let Some(listener) = listener.take() {
                        shut_down(&listener);
                    }
                    connections.shutdown().await;
                    drop(done);
                }
                None => return,
            },
            accepted = next_connection(listener.as_ref()) => match accepted {
                Ok((stream, peer)) => serve(stream, peer, &mut connections),
                Err(error) => {
                    log::warn!("{name}: cannot accept a connection: {error}");
                    time::sleep(ACCEPT_RETRY).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Shuts a listener down before it is closed: a child process that is being spawned may hold a copy
/// of the socket, which would go on listening. Where this is unsupported, the close has to do.
fn shut_down(listener: &tokio::net::TcpListener) {
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
