//! A blocking client that shares no code with the crate: it consumes a topic, or publishes.

use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The channel that [`drain`] creates.
const CHANNEL: &str = "drain";
/// Messages that nsqd may send ahead.
const READY: usize = 500;
/// Read timeout.
const READ: Duration = Duration::from_millis(20);
/// Silence after which nothing is left, by the stage of [`drain`]: all expected messages arrived
/// and nsqd counts none; nsqd counts none; nsqd counts some, perhaps wrongly after a kill.
const CALM: Duration = Duration::from_millis(60);
const QUIET: Duration = Duration::from_secs(2);
const VERY_QUIET: Duration = Duration::from_secs(10);

/// Adds TLS to a connection.
pub type Secure = Arc<dyn Fn(TcpStream) -> Box<dyn Stream> + Send + Sync>;

/// What a broker requires of clients.
#[derive(Clone, Default)]
pub struct Access {
    pub tls: Option<Secure>,
    pub secret: Option<&'static str>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tls, secret) = (self.tls.is_some(), self.secret.is_some());
        write!(f, "access: TLS {tls}, secret {secret}")
    }
}

/// The id of a message. Those of a topic increase in the order in which nsqd stored the messages.
pub type Id = [u8; 16];

/// Receives and finishes the messages of a topic, in order.
///
/// Ends when `expected` messages arrived and none is left, so that one too many is noticed, or
/// after a silence. `left` returns the number of unfinished messages, if that is known.
pub fn drain(
    access: &Access,
    address: &str,
    topic: &str,
    expected: usize,
    mut left: impl FnMut() -> Option<u64>,
    take: impl FnMut(Id, Vec<u8>),
) -> io::Result<()> {
    let mut connection = Connection::open(address, access)?;
    connection.write(format!("SUB {topic} {CHANNEL}\n").as_bytes())?;
    connection.expect_ok()?;
    connection.write(format!("RDY {READY}\n").as_bytes())?;
    let mut consumer = Consumer {
        connection,
        take,
        received: 0,
        fins: Vec::new(),
        last: Instant::now(),
        closing: false,
    };
    loop {
        let silence = consumer.receive()?;
        let enough = match left() {
            Some(0) if consumer.received >= expected => CALM,
            Some(0) | None => QUIET,
            Some(_) => VERY_QUIET,
        };
        if silence >= enough {
            break;
        }
    }
    // Without CLS, nsqd could send a later message to this connection, and resend it after a
    // minute. A message may follow CLOSE_WAIT.
    consumer.connection.write(b"CLS\n")?;
    consumer.last = Instant::now();
    loop {
        let silence = consumer.receive()?;
        if silence >= if consumer.closing { CALM } else { VERY_QUIET } {
            return Ok(());
        }
    }
}

struct Consumer<F> {
    connection: Connection,
    take: F,
    received: usize,
    /// FIN commands, written when no further frame is buffered.
    fins: Vec<u8>,
    last: Instant,
    /// nsqd has answered CLS.
    closing: bool,
}

impl<F: FnMut(Id, Vec<u8>)> Consumer<F> {
    /// Receives what has arrived. Returns the time since the last message.
    fn receive(&mut self) -> io::Result<Duration> {
        while let Some(frame) = self.connection.next_frame()? {
            match frame {
                Frame::Message { id, body } => {
                    self.fins.extend([b"FIN ", &id[..], b"\n"].concat());
                    (self.take)(id, body);
                    self.received += 1;
                    self.last = Instant::now();
                }
                Frame::Response(text) => self.closing |= text == b"CLOSE_WAIT",
                Frame::Error(text) => return Err(io::Error::other(text)),
            }
            if !self.connection.has_whole_frame() {
                self.connection.write(&self.fins)?;
                self.fins.clear();
            }
        }
        Ok(self.last.elapsed())
    }
}

/// Publishes each body with PUB and waits for its `OK`.
pub fn publish(address: &str, topic: &str, bodies: &[&[u8]]) -> io::Result<()> {
    let mut connection = Connection::open(address, &Access::default())?;
    for body in bodies {
        let line = format!("PUB {topic}\n");
        connection.write(&sized(line.as_bytes(), body))?;
        connection.expect_ok()?;
    }
    Ok(())
}

enum Frame {
    Response(Vec<u8>),
    Error(String),
    Message { id: Id, body: Vec<u8> },
}

/// The transport of a connection.
pub trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// A connection after its handshake. A read timeout loses no part of a frame.
struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    partial: Vec<u8>,
}

impl Connection {
    fn open(address: &str, access: &Access) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ))?;
        stream.write_all(b"  V2")?;
        let mut connection = Self::over(Box::new(stream.try_clone()?));
        if let Some(secure) = &access.tls {
            let identify = br#"{"feature_negotiation":true,"tls_v1":true}"#;
            connection.write(&sized(b"IDENTIFY\n", identify))?;
            connection.expect_response()?;
            connection = Self::over(secure(stream));
            connection.expect_ok()?;
        }
        if let Some(secret) = access.secret {
            connection.write(&sized(b"AUTH\n", secret.as_bytes()))?;
            connection.expect_response()?;
        }
        Ok(connection)
    }

    fn over(stream: Box<dyn Stream>) -> Self {
        Self {
            stream: BufReader::with_capacity(64 << 10, stream),
            partial: Vec::new(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    fn expect_ok(&mut self) -> io::Result<()> {
        match &self.expect_response()?[..] {
            b"OK" => Ok(()),
            other => Err(io::Error::other(
                String::from_utf8_lossy(other).into_owned(),
            )),
        }
    }

    fn expect_response(&mut self) -> io::Result<Vec<u8>> {
        let began = Instant::now();
        while began.elapsed() < VERY_QUIET {
            match self.next_frame()? {
                Some(Frame::Response(text)) if text != b"_heartbeat_" => return Ok(text),
                Some(Frame::Error(text)) => return Err(io::Error::other(text)),
                _ => {}
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "no response"))
    }

    /// Whether the next frame is in the buffer.
    fn has_whole_frame(&self) -> bool {
        let buffer = self.stream.buffer();
        let size = buffer.first_chunk().map(|size| u32::from_be_bytes(*size));
        size.is_some_and(|size| buffer.len() - 4 >= size as usize)
    }

    /// The next frame, or `None` after a read timeout. Answers heartbeats.
    fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        if !self.read_up_to(4)? {
            return Ok(None);
        }
        let size = u32::from_be_bytes(array(&self.partial, 0)) as usize;
        if !self.read_up_to(4 + size)? {
            return Ok(None);
        }
        let frame = std::mem::take(&mut self.partial);
        let (kind, payload) = (u32::from_be_bytes(array(&frame, 4)), &frame[8..]);
        let frame = match kind {
            0 => {
                if payload == b"_heartbeat_" {
                    self.write(b"NOP\n")?;
                }
                Frame::Response(payload.to_vec())
            }
            1 => Frame::Error(String::from_utf8_lossy(payload).into_owned()),
            // Timestamp (i64), attempts (u16), id (16 bytes), body
            2 => Frame::Message {
                id: array(payload, 10),
                body: payload[26..].to_vec(),
            },
            other => return Err(io::Error::other(format!("frame type {other}"))),
        };
        Ok(Some(frame))
    }

    /// Reads until the frame has this length. Returns false after a read timeout.
    fn read_up_to(&mut self, length: usize) -> io::Result<bool> {
        while self.partial.len() < length {
            let missing = (length - self.partial.len()) as u64;
            let mut stream = self.stream.by_ref().take(missing);
            match stream.read_to_end(&mut self.partial) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) => match e.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Ok(false),
                    _ => return Err(e),
                },
            }
        }
        Ok(true)
    }
}

/// A command line, the length of the body, and the body.
fn sized(line: &[u8], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a short body");
    [line, &length.to_be_bytes(), body].concat()
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("N bytes")
}
