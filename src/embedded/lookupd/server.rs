//! The thread of an embedded nsqlookupd with its two ports.

use std::{io, net::SocketAddr, sync::Arc, thread};

use tokio::{
    net::TcpStream,
    runtime,
    task::{self, AbortHandle, JoinSet},
};

use super::{
    http_connection,
    session::Ports,
    state::{Kind, Open, Shared},
    tcp_connection,
};
use crate::embedded::listener::{self, Port};

/// What the log calls it.
const NAME: &str = "embedded nsqlookupd";

/// Controls the thread, which ends with all its sockets when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) http: Port,
    pub(super) tcp: Port,
    runtime: runtime::Handle,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Reserves the addresses and starts the thread. It does not listen yet.
    pub(super) fn start(
        http: SocketAddr,
        tcp: SocketAddr,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let (http, http_requests) = Port::reserve(http)?;
        let (tcp, tcp_requests) = Port::reserve(tcp)?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let handle = runtime.handle().clone();
        let ports = Ports {
            tcp: tcp.address().port(),
            http: http.address().port(),
        };
        let serve = async move {
            let of_nsqds = Arc::clone(&shared);
            task::spawn(listener::accept(
                NAME,
                tcp_requests,
                move |stream, peer, tasks| serve_tcp(stream, peer, ports, tasks, &of_nsqds),
            ));
            listener::accept(NAME, http_requests, |stream, _, tasks| {
                serve_http(stream, tasks, &shared);
            })
            .await;
        };
        let thread = thread::Builder::new()
            .name(format!("embedded-lookupd-{}", http.address().port()))
            .spawn(move || runtime.block_on(serve))?;
        Ok(Self {
            http,
            tcp,
            runtime: handle,
            thread: Some(thread),
        })
    }

    /// Runs a task on the thread, until it ends or the handle is used to abort it.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.runtime.spawn(task).abort_handle()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.http.end();
        if let Some(thread) = self.thread.take() {
            // The panic hook has reported a panic of the thread; `drop` must not panic again.
            let _ = thread.join();
        }
    }
}

fn serve_http(stream: TcpStream, tasks: &mut JoinSet<()>, shared: &Arc<Shared>) {
    // As Go does for every socket. Without it, responses are only slower.
    let _ = stream.set_nodelay(true);
    let (open, close) = Open::new(shared, Kind::Http);
    tasks.spawn(http_connection::serve(stream, open, close));
}

fn serve_tcp(
    stream: TcpStream,
    peer: SocketAddr,
    ports: Ports,
    tasks: &mut JoinSet<()>,
    shared: &Arc<Shared>,
) {
    let _ = stream.set_nodelay(true);
    let (open, close) = Open::new(shared, Kind::Tcp);
    tasks.spawn(tcp_connection::serve(stream, peer, ports, open, close));
}
