//! A plain client that speaks the raw protocol: it empties a topic and says what was in it, or publishes and awaits each OK.
//! Blocking, with hand-typed bytes.

use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The channel the consumer creates and reads.
const CHANNEL: &str = "drain";
/// How many messages nsqd may send ahead.
const READY: usize = 500;
/// How long to listen before looking whether anything is left.
const GLANCE: Duration = Duration::from_millis(20);
/// With all that is expected and nothing left in nsqd's own count: a message on its way inside nsqd may be in no count.
const CALM: Duration = Duration::from_millis(60);
/// With nothing left in nsqd's own count, this long a silence is the end.
const QUIET: Duration = Duration::from_secs(2);
/// nsqd's count may be wrong after a kill: this long a silence is the end whatever it says.
const VERY_QUIET: Duration = Duration::from_secs(10);

/// Makes TLS of a connection.
pub type Secure = Arc<dyn Fn(TcpStream) -> Box<dyn Line> + Send + Sync>;

/// What it takes to be let in, besides an address.
#[derive(Clone, Default)]
pub struct Access {
    /// Where nsqd requires TLS.
    pub tls: Option<Secure>,
    /// Where it requires AUTH.
    pub secret: Option<&'static str>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tls, secret) = (self.tls.is_some(), self.secret.is_some());
        write!(f, "access: TLS {tls}, secret {secret}")
    }
}

/// Receives and finishes the messages of a topic, in the order they come, and returns their bodies.
///
/// It ends when `expected` messages came and none is left (so one too many is seen as well), or when no more come.
/// `left` tells how many are not finished yet; `None` where nobody knows, then a silence decides.
pub fn drain(
    address: &str,
    topic: &str,
    expected: usize,
    left: impl FnMut() -> Option<u64>,
) -> io::Result<Vec<Vec<u8>>> {
    drain_with(&Access::default(), address, topic, expected, left)
}

/// The same from an nsqd that does not let in everybody.
pub fn drain_with(
    access: &Access,
    address: &str,
    topic: &str,
    expected: usize,
    left: impl FnMut() -> Option<u64>,
) -> io::Result<Vec<Vec<u8>>> {
    let mut bodies = Vec::new();
    let connection = Connection::open(address, access)?;
    empty(connection, topic, expected, left, |body| bodies.push(body))?;
    Ok(bodies)
}

/// The same, where the bodies are looked at as they come: there may be millions.
pub fn drain_into(
    address: &str,
    topic: &str,
    expected: usize,
    left: impl FnMut() -> Option<u64>,
    take: impl FnMut(Vec<u8>),
) -> io::Result<()> {
    let connection = Connection::open(address, &Access::default())?;
    empty(connection, topic, expected, left, take)
}

fn empty(
    mut connection: Connection,
    topic: &str,
    expected: usize,
    mut left: impl FnMut() -> Option<u64>,
    take: impl FnMut(Vec<u8>),
) -> io::Result<()> {
    connection.subscribe(topic, CHANNEL)?;
    connection.write(format!("RDY {READY}\n").as_bytes())?;
    let mut consumer = Consumer {
        connection,
        take,
        came: 0,
        finished: Vec::new(),
        last_came: Instant::now(),
        may_go: false,
    };
    loop {
        let quiet = consumer.listen()?;
        let enough = match left() {
            Some(0) if consumer.came >= expected => CALM,
            Some(0) | None => QUIET,
            Some(_) => VERY_QUIET,
        };
        if quiet >= enough {
            break;
        }
    }
    // Without a goodbye, nsqd could hand a later message to this connection, and miss it for a minute.
    consumer.connection.write(b"CLS\n")?;
    consumer.last_came = Instant::now();
    loop {
        // A message may still follow CLOSE_WAIT.
        let quiet = consumer.listen()?;
        if quiet >= if consumer.may_go { CALM } else { VERY_QUIET } {
            return Ok(());
        }
    }
}

struct Consumer<F> {
    connection: Connection,
    take: F,
    /// So many messages.
    came: usize,
    /// The commands that finish what has come, as long as more is there to be read.
    finished: Vec<u8>,
    last_came: Instant,
    /// Whether nsqd has agreed to the end.
    may_go: bool,
}

impl<F: FnMut(Vec<u8>)> Consumer<F> {
    /// Takes and finishes what has come, and says for how long now no message came.
    fn listen(&mut self) -> io::Result<Duration> {
        while let Some(frame) = self.connection.next_frame()? {
            match frame {
                Frame::Message { id, body } => {
                    self.finished.extend([b"FIN ", &id[..], b"\n"].concat());
                    (self.take)(body);
                    self.came += 1;
                    self.last_came = Instant::now();
                }
                Frame::Response(text) => self.may_go |= text == b"CLOSE_WAIT",
                Frame::Error(text) => {
                    let text = format!("nsqd refused the consumer: {text}");
                    return Err(io::Error::other(text));
                }
            }
            // Then the next frame would be waited for, and perhaps in vain.
            if !self.connection.has_whole_frame() {
                self.connection.write(&self.finished)?;
                self.finished.clear();
            }
        }
        Ok(self.last_came.elapsed())
    }
}

/// Publishes each body with a PUB of its own, typed by hand, and waits for each OK.
pub fn publish(address: &str, topic: &str, bodies: &[&[u8]]) -> io::Result<()> {
    publish_with(&Access::default(), address, topic, bodies)
}

/// The same to an nsqd that does not let in everybody.
pub fn publish_with(
    access: &Access,
    address: &str,
    topic: &str,
    bodies: &[&[u8]],
) -> io::Result<()> {
    let mut connection = Connection::open(address, access)?;
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
    Message { id: [u8; 16], body: Vec<u8> },
}

/// What a connection runs over.
pub trait Line: Read + Write {}

impl<T: Read + Write> Line for T {}

/// A connection past its handshake. Frames are read whole or not at all, so that a glance that finds nothing loses nothing.
struct Connection {
    line: BufReader<Box<dyn Line>>,
    partial: Vec<u8>,
}

impl Connection {
    fn open(address: &str, access: &Access) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(GLANCE))?;
        stream.write_all(b"  V2")?;
        let mut connection = Self::over(Box::new(stream.try_clone()?));
        if let Some(secured) = &access.tls {
            let wish = br#"{"feature_negotiation":true,"tls_v1":true}"#;
            connection.write(&sized(b"IDENTIFY\n", wish))?;
            connection.expect_response()?;
            connection = Self::over(secured(stream));
            connection.expect_ok()?;
        }
        if let Some(secret) = access.secret {
            connection.write(&sized(b"AUTH\n", secret.as_bytes()))?;
            connection.expect_response()?;
        }
        Ok(connection)
    }

    fn over(line: Box<dyn Line>) -> Self {
        Self {
            line: BufReader::with_capacity(64 << 10, line),
            partial: Vec::new(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let line = self.line.get_mut();
        line.write_all(bytes)?;
        line.flush()
    }

    fn subscribe(&mut self, topic: &str, channel: &str) -> io::Result<()> {
        self.write(format!("SUB {topic} {channel}\n").as_bytes())?;
        self.expect_ok()
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
        let asked = Instant::now();
        while asked.elapsed() < VERY_QUIET {
            match self.next_frame()? {
                Some(Frame::Response(text)) if text != b"_heartbeat_" => return Ok(text),
                Some(Frame::Error(text)) => return Err(io::Error::other(text)),
                _ => {}
            }
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "no answer from nsqd",
        ))
    }

    /// Whether the next frame is there already.
    fn has_whole_frame(&self) -> bool {
        let buffer = self.line.buffer();
        let size = buffer.first_chunk().map(|size| u32::from_be_bytes(*size));
        size.is_some_and(|size| buffer.len() - 4 >= size as usize)
    }

    /// The next frame; `None` when none is complete within a glance. Heartbeats are answered on the way.
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
        match kind {
            0 => {
                if payload == b"_heartbeat_" {
                    self.write(b"NOP\n")?;
                }
                Ok(Some(Frame::Response(payload.to_vec())))
            }
            1 => Ok(Some(Frame::Error(
                String::from_utf8_lossy(payload).into_owned(),
            ))),
            // i64 time, u16 attempts, 16 bytes id, body
            2 => Ok(Some(Frame::Message {
                id: array(payload, 10),
                body: payload[26..].to_vec(),
            })),
            other => Err(io::Error::other(format!("frame type {other}"))),
        }
    }

    /// Reads until `length` bytes of the frame are there; false if the glance was over before.
    fn read_up_to(&mut self, length: usize) -> io::Result<bool> {
        while self.partial.len() < length {
            let missing = (length - self.partial.len()) as u64;
            match self
                .line
                .by_ref()
                .take(missing)
                .read_to_end(&mut self.partial)
            {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    return Ok(false);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }
}

/// A command with a length before its body.
fn sized(line: &[u8], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a body of a test fits");
    [line, &length.to_be_bytes(), body].concat()
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("N bytes were sliced")
}
