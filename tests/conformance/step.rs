//! The steps of a row, and running them against an nsqd.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::support::nsqd_version::Version;
use crate::support::wait::PATIENCE;

/// A name and the steps, which must succeed with every nsqd.
pub type Row = (&'static str, &'static [Step]);

/// An nsqd that a row runs against.
pub struct Peer<'a> {
    pub address: &'a str,
    pub version: Version,
    /// Sends a POST request with this path to its HTTP API.
    pub post: &'a dyn Fn(&str) -> io::Result<()>,
}

/// Something that the client does, or that it must receive next.
///
/// In texts and bytes `<t>` stands for the topic of the row, `<a>` to `<d>` for the ids of received
/// messages, `<v>` for the version of nsqd, and `<i>` for its text about an invalid message id.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Switches to this connection; a new one sends the magic. A row begins with number 0.
    Use(usize),
    /// Switches to a new connection that sends no magic.
    Silent(usize),
    /// Sends these bytes with one write.
    Send(&'static [u8]),
    /// Sends, with one write, the first bytes, a byte repeated this many times, the last bytes.
    Fill(&'static [u8], u8, usize, &'static [u8]),
    /// Sends an IDENTIFY with this JSON.
    Identify(&'static str),
    /// Sends a POST request with this path to nsqd's HTTP API.
    Post(&'static str),
    /// Closes the client's side of the connection.
    HalfClose,
    /// Expects a response frame with this text.
    Response(&'static str),
    /// Expects an error frame with these bytes.
    Error(&'static [u8]),
    /// Expects these bytes.
    Bytes(&'static [u8]),
    /// Expects these bytes, compressed with deflate, and then EOF.
    InflatedEof(&'static [u8]),
    /// Expects a message with these attempts and this body. The first use of a letter binds it to
    /// the id of the message; later uses expect the same id.
    Message(char, u16, &'static [u8]),
    /// Expects the connection to be open, with no unexpected frames: a PUB succeeds.
    Open,
    /// Expects EOF.
    Eof,
    /// Expects a reset, which means that nsqd left bytes unread.
    Reset,
    /// Expects EOF, after any number of heartbeats and, unless it is empty, this error.
    EofAmidHeartbeats(&'static [u8]),
}

pub const OK: Step = Step::Response("OK");
pub const HEARTBEAT: Step = Step::Response("_heartbeat_");

const RESPONSE: u32 = 0;
const ERROR: u32 = 1;
const MESSAGE: u32 = 2;

/// Runs a row against this nsqd. An error names the step that failed.
pub fn run(row: Row, peer: &Peer<'_>, topic: &str) -> Result<(), String> {
    play(row, peer, topic).map(drop)
}

/// Runs a row, and returns its connections, which are open.
pub fn play(
    (_, steps): Row,
    peer: &Peer<'_>,
    topic: &str,
) -> Result<BTreeMap<usize, TcpStream>, String> {
    let mut client = Client {
        peer,
        connections: BTreeMap::new(),
        current: 0,
        placeholders: BTreeMap::from([
            ('t', topic.as_bytes().to_vec()),
            ('v', peer.version.to_string().into_bytes()),
            ('i', peer.version.invalid_message_id().into()),
        ]),
    };
    for (index, step) in steps.iter().enumerate() {
        let result = match step {
            Step::Use(_) | Step::Silent(_) | Step::Post(_) => Ok(()),
            _ => client.connect(true),
        };
        let result = result.and_then(|()| client.run(*step));
        result.map_err(|error| format!("step {index}: {error}"))?;
    }
    Ok(client.connections)
}

struct Client<'a> {
    peer: &'a Peer<'a>,
    connections: BTreeMap<usize, TcpStream>,
    current: usize,
    placeholders: BTreeMap<char, Vec<u8>>,
}

impl Client<'_> {
    fn run(&mut self, step: Step) -> io::Result<()> {
        match step {
            Step::Use(number) => {
                self.current = number;
                self.connect(true)
            }
            Step::Silent(number) => {
                self.current = number;
                self.connect(false)
            }
            Step::Send(bytes) => self.send(&self.substitute(bytes)),
            Step::Fill(before, byte, n, behind) => {
                let (before, behind) = (self.substitute(before), self.substitute(behind));
                self.send(&[before, vec![byte; n], behind].concat())
            }
            Step::Identify(json) => {
                let size = u32::try_from(json.len()).map_err(io::Error::other)?;
                self.send(&[b"IDENTIFY\n", &size.to_be_bytes()[..], json.as_bytes()].concat())
            }
            Step::Post(path) => {
                let path = self.substitute(path.as_bytes());
                (self.peer.post)(&String::from_utf8_lossy(&path))
            }
            Step::HalfClose => self.stream().shutdown(Shutdown::Write),
            Step::Response(text) => self.expect_frame(RESPONSE, text.as_bytes()),
            Step::Error(text) => self.expect_frame(ERROR, text),
            Step::Bytes(bytes) => {
                let mut received = vec![0; bytes.len()];
                self.stream().read_exact(&mut received)?;
                compare(&received, bytes)
            }
            Step::InflatedEof(bytes) => {
                let mut received = Vec::new();
                self.stream().read_to_end(&mut received)?;
                compare(&inflate(&received)?, bytes)
            }
            Step::Message(letter, attempts, body) => self.expect_message(letter, attempts, body),
            Step::Open => {
                self.send(b"PUB is_it_open#ephemeral\n\0\0\0\x01x")?;
                self.expect_frame(RESPONSE, b"OK")
            }
            Step::Eof => {
                let mut received = Vec::new();
                self.stream().read_to_end(&mut received)?;
                compare(&received, b"")
            }
            Step::Reset => {
                let mut received = Vec::new();
                let end = self.stream().read_to_end(&mut received);
                compare(&received, b"")?;
                match end {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
                    end => Err(io::Error::other(format!("expected a reset, got {end:?}"))),
                }
            }
            Step::EofAmidHeartbeats(error) => loop {
                let mut first = [0];
                if self.stream().peek(&mut first)? == 0 {
                    return compare(b"", error);
                }
                let received = self.frame()?;
                if received != frame(RESPONSE, b"_heartbeat_") {
                    compare(&received, &frame(ERROR, error))?;
                    return self.run(Step::EofAmidHeartbeats(b""));
                }
            },
        }
    }

    /// Opens the current connection, if it does not exist.
    fn connect(&mut self, magic: bool) -> io::Result<()> {
        if self.connections.contains_key(&self.current) {
            return Ok(());
        }
        let stream = TcpStream::connect(self.peer.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        self.connections.insert(self.current, stream);
        if magic { self.send(b"  V2") } else { Ok(()) }
    }

    fn stream(&self) -> &TcpStream {
        &self.connections[&self.current]
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.stream().write_all(bytes)
    }

    fn expect_frame(&self, kind: u32, payload: &[u8]) -> io::Result<()> {
        compare(&self.frame()?, &frame(kind, &self.substitute(payload)))
    }

    fn expect_message(&mut self, letter: char, attempts: u16, body: &[u8]) -> io::Result<()> {
        let received = self.frame()?;
        let (Some(timestamp), Some(id)) = (received.get(8..16), received.get(18..34)) else {
            return Err(io::Error::other(format!(
                "not a message: {}",
                received.escape_ascii()
            )));
        };
        let known = self.placeholders.entry(letter).or_insert(id.to_vec());
        let expected = [timestamp, &attempts.to_be_bytes(), known, body].concat();
        compare(&received, &frame(MESSAGE, &expected))?;
        let is_hexadecimal = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        let timestamp = i64::from_be_bytes(timestamp.try_into().map_err(io::Error::other)?);
        let plausible = known.iter().all(is_hexadecimal) && timestamp > 1_700_000_000_000_000_000;
        if plausible {
            Ok(())
        } else {
            Err(io::Error::other(format!(
                "timestamp {timestamp}, id {known:?}"
            )))
        }
    }

    /// Reads a frame, and returns it with its size and type.
    fn frame(&self) -> io::Result<Vec<u8>> {
        let mut size = [0; 4];
        self.stream().read_exact(&mut size)?;
        let length = u32::from_be_bytes(size).min(1 << 20);
        let mut frame = vec![0; length as usize];
        self.stream().read_exact(&mut frame)?;
        Ok([&size[..], &frame].concat())
    }

    /// Replaces the placeholders.
    fn substitute(&self, bytes: &[u8]) -> Vec<u8> {
        let mut filled = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some((first, behind)) = rest.split_first() {
            match rest {
                [b'<', letter, b'>', behind @ ..]
                    if self.placeholders.contains_key(&char::from(*letter)) =>
                {
                    filled.extend(&self.placeholders[&char::from(*letter)]);
                    rest = behind;
                }
                _ => {
                    filled.push(*first);
                    rest = behind;
                }
            }
        }
        filled
    }
}

/// `[u32 size of the rest][u32 type][payload]`
fn frame(kind: u32, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len() + 4).expect("a short frame");
    [&size.to_be_bytes(), &kind.to_be_bytes(), payload].concat()
}

/// Decompresses a deflate stream that may lack its end.
fn inflate(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut plain = Vec::with_capacity(1 << 16);
    flate2::Decompress::new(false)
        .decompress_vec(bytes, &mut plain, flate2::FlushDecompress::Sync)
        .map_err(io::Error::other)?;
    Ok(plain)
}

fn compare(received: &[u8], expected: &[u8]) -> io::Result<()> {
    if received == expected {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "\n  expected \"{}\"\n  received \"{}\"",
        expected.escape_ascii(),
        received.escape_ascii()
    )))
}
