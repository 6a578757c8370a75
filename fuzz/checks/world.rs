//! A network in memory and a clock that jumps, made anew for each input: an hour passes in a moment.

use std::{io, sync::Arc, time::Duration};

use actix_nsq::{
    ConnectFuture, Connector, ProducerConfig, ProducerConfigBuilder, Transport, bytes::BytesMut,
};
use futures::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::{mpsc, oneshot},
    task::LocalSet,
    time::{sleep, timeout},
};

use super::{
    line::{End, Line},
    spoken::Command,
};

pub(super) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Runs a check in virtual time. Whatever it started and dropped must come to its end within a day, or it has leaked.
pub(super) fn in_virtual_time(check: impl AsyncFnOnce(Network)) {
    // The delays before connecting again are drawn; the same input is to give the same run.
    fastrand::seed(7);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a small runtime");
    let tasks = LocalSet::new();
    runtime.block_on(tasks.run_until(async {
        let ended = timeout(30 * DAY, check(Network::new())).await;
        ended.expect("the check waits for what never comes");
    }));
    runtime.block_on(async {
        let ended = timeout(DAY, tasks).await;
        ended.expect("a task of a producer that was dropped goes on for ever");
    });
}

/// What a producer dials into. Once it is dropped, all dials are refused.
#[derive(Debug)]
pub(super) struct Network {
    dials: mpsc::UnboundedReceiver<oneshot::Sender<io::Result<End>>>,
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
        ProducerConfig::builder("nsqd in memory").connector(self.connector.clone())
    }

    /// The next dial, by a line that holds so many bytes on their way; `None` when none comes within `patience`.
    pub(super) async fn accept(&mut self, capacity: usize, patience: Duration) -> Option<Peer> {
        let dial = timeout(patience, self.dials.recv()).await.ok()??;
        let (ours, pipe) = tokio::io::duplex(capacity);
        let line = Line::default();
        dial.send(Ok(End::new(pipe, line.clone(), Arc::clone(&self.open))))
            .ok()?;
        Some(Peer {
            stream: ours,
            line,
            heard: BytesMut::new(),
            ended: false,
        })
    }
}

#[derive(Clone, Debug)]
struct InMemory {
    dials: mpsc::UnboundedSender<oneshot::Sender<io::Result<End>>>,
}

impl Connector for InMemory {
    fn connect(&self, _: &ProducerConfig) -> ConnectFuture {
        let (answer, answered) = oneshot::channel();
        // Without a network nobody takes the dial, and its answer comes at once.
        let _ = self.dials.send(answer);
        Box::pin(async move {
            let refused = || Err(io::ErrorKind::ConnectionRefused.into());
            Ok(Transport::new(
                answered.await.unwrap_or_else(|_| refused())?,
            ))
        })
    }
}

/// The peer's end of a connection. Dropped, it closes it, with whatever it has not read.
pub(super) struct Peer {
    stream: DuplexStream,
    pub(super) line: Line,
    /// Read, and not yet taken.
    heard: BytesMut,
    /// The client has closed.
    ended: bool,
}

impl Peer {
    /// Reads all that the client has to say until it waits for something, and gives the next whole command.
    pub(super) async fn command(&mut self) -> Option<Command> {
        loop {
            let parsed = Command::parse(&self.heard).expect("what the client says is NSQ's");
            if let Some((command, length)) = parsed {
                let _ = self.heard.split_to(length);
                return Some(command);
            }
            if !self.listen().await {
                return None;
            }
        }
    }

    /// Expects and takes the magic.
    pub(super) async fn magic(&mut self) -> bool {
        while self.heard.len() < 4 {
            if !self.listen().await {
                return false;
            }
        }
        assert_eq!(self.heard.split_to(4), "  V2");
        true
    }

    /// Whether more was heard, once the client rests.
    async fn listen(&mut self) -> bool {
        if self.ended {
            return false;
        }
        let mut read = self.stream.read_buf(&mut self.heard).now_or_never();
        if read.is_none() {
            // Long enough for everything that needs no timer.
            sleep(ms(1)).await;
            read = self.stream.read_buf(&mut self.heard).now_or_never();
        }
        self.ended = matches!(read, Some(Ok(0) | Err(_)));
        matches!(read, Some(Ok(1..)))
    }

    /// Whether the client, or the line, takes all of it.
    pub(super) async fn say(&mut self, bytes: &[u8]) -> bool {
        let said = timeout(ms(1000), self.stream.write_all(bytes)).await;
        matches!(said, Ok(Ok(())))
    }

    /// Says no more; what the client says can still be heard.
    pub(super) async fn fin(&mut self) {
        let _ = self.stream.shutdown().await;
    }
}
