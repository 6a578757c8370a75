//! Records the bytes that a consumer reads and writes, in order over all its connections.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use actix_nsq::{ConnectFuture, ConnectTarget, Connector, IncomingMessage, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::command::{self, Verb};
pub use super::raw_client::Id;

/// Length of the bytes that precede the first command.
const MAGIC: usize = 4;

/// A connector whose connections record their bytes.
#[derive(Clone, Debug, Default)]
pub struct WireLog(Arc<Mutex<Vec<(Instant, Entry)>>>);

#[derive(Debug)]
enum Entry {
    Opened(Arc<str>),
    Read(usize, Vec<u8>),
    Written(usize, Vec<u8>),
    Event(Event),
}

/// What has happened. Connections are numbers, counted from 0.
#[derive(Clone, Debug)]
pub enum Event {
    /// A connection to this address.
    Opened(usize, Arc<str>),
    /// A message was read to its end.
    Received(usize, Received),
    /// RDY was written to its end.
    Ready(usize, usize),
    /// FIN or REQ was written to its end.
    Answered(usize, Id),
    /// The end of the connection was read, or it was dropped.
    Closed(usize),
    /// A handler is about to answer a message.
    Handled(Delivery),
    /// `max_in_flight` changes: before it rises, or after it fell.
    MaxInFlight(usize),
}

#[derive(Clone, Debug)]
pub struct Received {
    pub id: Id,
    pub attempts: u16,
    pub body: Vec<u8>,
}

/// One delivery of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Delivery {
    pub address: Arc<str>,
    pub id: Id,
    pub attempts: u16,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened(it, address) => write!(f, "{it} is opened to {address}"),
            Self::Received(it, message) => {
                let (id, attempts) = (message.id.escape_ascii(), message.attempts);
                write!(f, "{it} reads message {id}, attempt {attempts}")
            }
            Self::Ready(it, count) => write!(f, "{it} writes RDY {count}"),
            Self::Answered(it, id) => write!(f, "{it} answers {}", id.escape_ascii()),
            Self::Closed(it) => write!(f, "{it} is closed"),
            Self::Handled(Delivery {
                address,
                id,
                attempts,
            }) => {
                let id = id.escape_ascii();
                write!(f, "handler of {address} answers {id}, attempt {attempts}")
            }
            Self::MaxInFlight(max) => write!(f, "max_in_flight {max}"),
        }
    }
}

impl WireLog {
    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, Entry)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, entry: Entry) {
        self.lock().push((Instant::now(), entry));
    }

    /// To be called before the message is answered.
    pub fn handled(&self, message: &IncomingMessage) {
        self.add(Entry::Event(Event::Handled(Delivery {
            address: message.address().into(),
            id: *message.id().as_bytes(),
            attempts: message.attempts(),
        })));
    }

    /// To be called before `max_in_flight` rises, or after it fell.
    pub fn max_in_flight(&self, max: usize) {
        self.add(Entry::Event(Event::MaxInFlight(max)));
    }

    /// Everything so far, with its time.
    pub fn events(&self) -> Vec<(Instant, Event)> {
        let mut events = Vec::new();
        let mut connections = Vec::<Streams>::new();
        for (at, entry) in &*self.lock() {
            let mut add = |event| events.push((*at, event));
            match entry {
                Entry::Opened(address) => {
                    add(Event::Opened(connections.len(), Arc::clone(address)));
                    connections.push(Streams::default());
                }
                Entry::Read(connection, bytes) => {
                    let messages = connections[*connection].read(bytes);
                    let received = messages.into_iter();
                    received.for_each(|message| add(Event::Received(*connection, message)));
                }
                Entry::Written(connection, bytes) => {
                    connections[*connection].write(*connection, bytes, add);
                }
                Entry::Event(event) => add(event.clone()),
            }
        }
        events
    }

    /// The messages that each connection has received whole.
    pub fn received(&self) -> Vec<Vec<Received>> {
        let mut connections = BTreeMap::<usize, Vec<Received>>::new();
        for (_, event) in self.events() {
            if let Event::Received(connection, message) = event {
                connections.entry(connection).or_default().push(message);
            }
        }
        connections.into_values().collect()
    }
}

impl Connector for WireLog {
    fn connect(&self, target: &ConnectTarget) -> ConnectFuture {
        let (address, log) = (target.address().to_owned(), self.clone());
        Box::pin(async move {
            let stream = TcpStream::connect(&address).await?;
            stream.set_nodelay(true)?;
            let connection = {
                let mut entries = log.lock();
                let is_opening = |entry: &&(_, Entry)| matches!(entry.1, Entry::Opened(_));
                let connection = entries.iter().filter(is_opening).count();
                entries.push((Instant::now(), Entry::Opened(address.into())));
                connection
            };
            Ok(Transport::new(Recorded {
                stream,
                log,
                connection,
                is_closed: false,
            }))
        })
    }
}

/// A socket that records its bytes.
struct Recorded {
    stream: TcpStream,
    log: WireLog,
    connection: usize,
    is_closed: bool,
}

impl Recorded {
    fn close(&mut self) {
        if !std::mem::replace(&mut self.is_closed, true) {
            self.log.add(Entry::Event(Event::Closed(self.connection)));
        }
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.close();
    }
}

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        let bytes = buffer.filled()[before..].to_vec();
        if bytes.is_empty() {
            self.close();
        } else {
            self.log.add(Entry::Read(self.connection, bytes));
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        let written_bytes = bytes[..written].to_vec();
        self.log.add(Entry::Written(self.connection, written_bytes));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The messages in a stream of frames, which may end within one.
pub fn messages(bytes: &[u8]) -> Vec<Received> {
    Streams::default().read(bytes)
}

/// The bytes of one connection.
#[derive(Default)]
struct Streams {
    /// Read, and not a whole frame yet.
    read: Vec<u8>,
    written: Vec<u8>,
    /// Where the next command begins.
    next: usize,
}

impl Streams {
    /// Adds bytes that were read. Returns the messages that they complete.
    fn read(&mut self, bytes: &[u8]) -> Vec<Received> {
        self.read.extend_from_slice(bytes);
        let (mut rest, mut messages) = (&self.read[..], Vec::new());
        while let Some((size, after)) = rest.split_first_chunk::<4>()
            && let Some((frame, after)) = after.split_at_checked(u32::from_be_bytes(*size) as usize)
        {
            rest = after;
            // The type, the timestamp, the attempts, the id, the body.
            if let Some(message) = frame.strip_prefix(&2_u32.to_be_bytes()) {
                messages.push(Received {
                    id: message[10..26].try_into().expect("16 bytes"),
                    attempts: u16::from_be_bytes([message[8], message[9]]),
                    body: message[26..].to_vec(),
                });
            }
        }
        let whole = self.read.len() - rest.len();
        self.read.drain(..whole);
        messages
    }

    /// Adds bytes that were written, and reports the commands that they complete.
    fn write(&mut self, connection: usize, bytes: &[u8], mut add: impl FnMut(Event)) {
        self.written.extend_from_slice(bytes);
        self.next = self.next.max(MAGIC);
        while self.next < self.written.len()
            && let Some(command) = command::read(&self.written, self.next)
            && let Some(end) = command.end
        {
            self.next = end;
            match command.verb {
                Verb::Rdy => {
                    let count = command.words[0].parse();
                    add(Event::Ready(connection, count.expect("a number")));
                }
                Verb::Fin | Verb::Req => {
                    let id = command.words[0].as_bytes().try_into();
                    add(Event::Answered(connection, id.expect("an id")));
                }
                _ => {}
            }
        }
    }
}
