//! The thread of an embedded nsqd with its two ports.

use std::{io, net::SocketAddr, sync::Arc, thread};

use tokio::{
    net::TcpStream,
    runtime,
    sync::mpsc::unbounded_channel,
    task::{self, AbortHandle, JoinSet},
};

use super::{
    connection, expiry, http,
    http_api::{self, Addresses},
    listener::{self, Port},
    registration::{self, Announcement, RegistrarRequests},
    state::Shared,
};

/// What the log calls it.
const NAME: &str = "embedded nsqd";

/// Controls the thread, which ends with all its sockets when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) tcp: Port,
    pub(super) http: Option<Port>,
    runtime: runtime::Handle,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Reserves the addresses and starts the thread. It does not listen yet.
    pub(super) fn start(
        tcp: SocketAddr,
        http: Option<SocketAddr>,
        shared: Arc<Shared>,
        requests: Option<RegistrarRequests>,
    ) -> io::Result<Self> {
        let (tcp, tcp_requests) = Port::reserve(tcp)?;
        let http = http.map(Port::reserve).transpose()?;
        let (http, http_requests) = http.unzip();
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let handle = runtime.handle().clone();
        let registration = &shared.options.registration;
        let broadcast_address = registration.broadcast_address.clone();
        let announcement = Announcement {
            broadcast_address: broadcast_address.unwrap_or_else(|| tcp.address().ip().to_string()),
            tcp_port: registration
                .broadcast_tcp_port
                .unwrap_or_else(|| tcp.address().port()),
            http_port: http.as_ref().map_or(0, |http| http.address().port()),
        };
        let addresses = http.as_ref().map(|http| Addresses {
            tcp: tcp.address(),
            http: http.address(),
        });
        let serve = async move {
            task::spawn(expiry::run(Arc::clone(&shared)));
            if let Some(requests) = requests {
                registration::spawn(&shared, requests, &announcement);
            }
            if let (Some(requests), Some(addresses)) = (http_requests, addresses) {
                let shared = Arc::clone(&shared);
                task::spawn(listener::accept(
                    NAME,
                    requests,
                    move |stream, _, connections| {
                        serve_http(stream, connections, &shared, addresses);
                    },
                ));
            }
            listener::accept(NAME, tcp_requests, |stream, peer, _| {
                spawn_connection(stream, peer, &shared);
            })
            .await;
        };
        let thread = thread::Builder::new()
            .name(format!("embedded-nsqd-{}", tcp.address().port()))
            .spawn(move || runtime.block_on(serve))?;
        Ok(Self {
            tcp,
            http,
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
        self.tcp.end();
        if let Some(thread) = self.thread.take() {
            // The panic hook has reported a panic of the thread; `drop` must not panic again.
            let _ = thread.join();
        }
    }
}

fn spawn_connection(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>) {
    // As Go does for every socket. Without it, responses are only slower.
    let _ = stream.set_nodelay(true);
    let (control, requests) = unbounded_channel();
    let number = shared.state().add_connection(peer, control);
    shared.changes.send_replace(());
    task::spawn(connection::serve(
        stream,
        number,
        requests,
        Arc::clone(shared),
    ));
}

fn serve_http(
    stream: TcpStream,
    connections: &mut JoinSet<()>,
    shared: &Arc<Shared>,
    addresses: Addresses,
) {
    let shared = Arc::clone(shared);
    connections.spawn(http::serve(stream, move |request| {
        let shared = Arc::clone(&shared);
        async move { http_api::answer(request, &shared, addresses).await }
    }));
}
