//! An in-memory network in virtual time, created for each input: an hour passes in a moment.

use std::{io, sync::Arc, time::Duration};

use actix_nsq::{
    ConnectFuture, ConnectTarget, Connector, ProducerConfig, ProducerConfigBuilder, Transport,
    bytes::BytesMut,
};
use futures::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::{mpsc, oneshot},
    task::LocalSet,
    time::{sleep, timeout},
};

use super::{
    faulty_stream::{FaultyStream, StreamControl},
    spoken::Command,
};

pub(super) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Runs a check in virtual time. All tasks that it started must end within a day.
pub(super) fn in_virtual_time(check: impl AsyncFnOnce(Network)) {
    // Reconnect delays are random; the same input must have the same run.
    fastrand::seed(7);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let tasks = LocalSet::new();
    runtime.block_on(tasks.run_until(async {
        let ended = timeout(30 * DAY, check(Network::new())).await;
        ended.expect("the check does not end");
    }));
    runtime.block_on(async {
        let ended = timeout(DAY, tasks).await;
        ended.expect("a task of a dropped actor does not end");
    });
}

/// The network that a producer or consumer dials into. After it is dropped, all dials fail.
#[derive(Debug)]
pub(super) struct Network {
    dials: mpsc::UnboundedReceiver<oneshot::Sender<io::Result<FaultyStream>>>,
    connector: InMemory,
    open: Arc<std::sync::atomic::AtomicUsize>,
}

impl Network {
    fn new() -> Self {
        let (sender, dials) = mpsc::unbounded_channel();
        Self {
            dials,
            connector: InMemory { dials: sender },
            open: Arc::default(),
        }
    }

    pub(super) fn config(&self) -> ProducerConfigBuilder {
        ProducerConfig::builder("nsqd in memory").connector(self.connector())
    }

    pub(super) fn connector(&self) -> impl Connector + use<> {
        self.connector.clone()
    }

    /// Accepts the next dial, over a line that holds `capacity` bytes. Returns `None` if there is
    /// no dial within `max_wait`.
    pub(super) async fn accept(&mut self, capacity: usize, max_wait: Duration) -> Option<Peer> {
        let dial = timeout(max_wait, self.dials.recv()).await.ok()??;
        let (ours, pipe) = tokio::io::duplex(capacity);
        let line = StreamControl::default();
        dial.send(Ok(FaultyStream::new(
            pipe,
            line.clone(),
            Arc::clone(&self.open),
        )))
        .ok()?;
        Some(Peer {
            stream: ours,
            line,
            received: BytesMut::new(),
            closed: false,
        })
    }
}

#[derive(Clone, Debug)]
struct InMemory {
    dials: mpsc::UnboundedSender<oneshot::Sender<io::Result<FaultyStream>>>,
}

impl Connector for InMemory {
    fn connect(&self, _: &ConnectTarget) -> ConnectFuture {
        let (answer, answered) = oneshot::channel();
        // Without a network this fails, and so does the dial.
        let _ = self.dials.send(answer);
        Box::pin(async move {
            let connection_refused = || Err(io::ErrorKind::ConnectionRefused.into());
            Ok(Transport::new(
                answered.await.unwrap_or_else(|_| connection_refused())?,
            ))
        })
    }
}

/// The peer's end of a connection. Dropping it closes the connection and discards unread bytes.
pub(super) struct Peer {
    stream: DuplexStream,
    pub(super) line: StreamControl,
    /// Received and not yet parsed.
    received: BytesMut,
    /// Whether the client has closed its write half.
    closed: bool,
}

impl Peer {
    /// Returns the next complete command, or `None` once the client waits for something.
    pub(super) async fn command(&mut self) -> Option<Command> {
        loop {
            let parsed = Command::parse(&self.received).expect("a valid command");
            if let Some((command, length)) = parsed {
                let _ = self.received.split_to(length);
                return Some(command);
            }
            if !self.receive().await {
                return None;
            }
        }
    }

    /// Whether the client has closed its side.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Reads the magic.
    pub(super) async fn magic(&mut self) -> bool {
        while self.received.len() < 4 {
            if !self.receive().await {
                return false;
            }
        }
        assert_eq!(self.received.split_to(4), "  V2");
        true
    }

    /// Receives more bytes. Returns `false` once the client waits for something.
    async fn receive(&mut self) -> bool {
        if self.closed {
            return false;
        }
        let mut read = self.stream.read_buf(&mut self.received).now_or_never();
        if read.is_none() {
            // All tasks run until they wait for a timer or for input.
            sleep(ms(1)).await;
            read = self.stream.read_buf(&mut self.received).now_or_never();
        }
        self.closed = matches!(read, Some(Ok(0) | Err(_)));
        matches!(read, Some(Ok(1..)))
    }

    /// Sends the bytes. Returns whether the line accepted all of them.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = timeout(ms(1000), self.stream.write_all(bytes)).await;
        matches!(sent, Ok(Ok(())))
    }

    /// Closes the write half. The client's bytes can still be read.
    pub(super) async fn fin(&mut self) {
        let _ = self.stream.shutdown().await;
    }
}
