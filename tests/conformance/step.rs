//! What a row is made of, and playing it to an nsqd: raw bytes out, raw frames in.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::support::wait::PATIENCE;

/// A scenario: its name, and what happens. It must go the same way with every nsqd.
pub type Row = (&'static str, &'static [Step]);

/// One thing that the client does, or that it must see next.
///
/// In texts and bytes `<t>` stands for a topic of the row's own, and `<a>` to `<d>` for the ids of messages that were
/// received.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Goes on with this connection, which is made and sends the magic when it is new. A row begins with number 0.
    Use(usize),
    /// The same for a new connection that sends no magic.
    Silent(usize),
    /// These bytes are sent with one write.
    Send(&'static [u8]),
    /// These bytes, then so many times this byte, then these are sent with one write.
    Fill(&'static [u8], u8, usize, &'static [u8]),
    /// An IDENTIFY with this JSON and its length is sent.
    Identify(&'static str),
    /// The client's side of the connection ends.
    HalfClose,
    /// A response frame with this text comes.
    Response(&'static str),
    /// An error frame with these bytes comes.
    Error(&'static [u8]),
    /// These bytes come, whatever they are.
    Bytes(&'static [u8]),
    /// It is closed; before come these bytes, compressed by deflate.
    InflatedEof(&'static [u8]),
    /// A message frame comes; its id is known by this letter from now on, and is the same where it was known before.
    Message(char, u16, &'static [u8]),
    /// The connection serves on: nothing has come that was not expected, and a PUB is answered.
    Open,
    /// The connection is closed, and nothing comes before.
    Eof,
    /// It is reset, and nothing comes before: bytes of ours were left unread.
    Reset,
    /// It is closed; before come heartbeats and, unless it is empty, an error frame with these bytes.
    EofAmidHeartbeats(&'static [u8]),
}

pub const OK: Step = Step::Response("OK");
pub const HEARTBEAT: Step = Step::Response("_heartbeat_");

const RESPONSE: u32 = 0;
const ERROR: u32 = 1;
const MESSAGE: u32 = 2;

/// Plays a row to the nsqd at this address. An error tells the step that went otherwise, and how.
pub fn play((_, steps): Row, address: &str, topic: &str) -> Result<(), String> {
    let mut client = Client {
        address,
        connections: BTreeMap::new(),
        current: 0,
        placeholders: BTreeMap::from([('t', topic.as_bytes().to_vec())]),
    };
    for (index, step) in steps.iter().enumerate() {
        let went = match step {
            Step::Use(_) | Step::Silent(_) => Ok(()),
            _ => client.connect(true),
        };
        let went = went.and_then(|()| client.take(*step));
        went.map_err(|error| format!("step {index}: {error}"))?;
    }
    Ok(())
}

struct Client<'a> {
    address: &'a str,
    connections: BTreeMap<usize, TcpStream>,
    current: usize,
    placeholders: BTreeMap<char, Vec<u8>>,
}

impl Client<'_> {
    fn take(&mut self, step: Step) -> io::Result<()> {
        match step {
            Step::Use(number) => {
                self.current = number;
                self.connect(true)
            }
            Step::Silent(number) => {
                self.current = number;
                self.connect(false)
            }
            Step::Send(bytes) => self.send(&self.filled_in(bytes)),
            Step::Fill(before, byte, n, behind) => {
                let (before, behind) = (self.filled_in(before), self.filled_in(behind));
                self.send(&[before, vec![byte; n], behind].concat())
            }
            Step::Identify(json) => {
                let size = u32::try_from(json.len()).map_err(io::Error::other)?;
                self.send(&[b"IDENTIFY\n", &size.to_be_bytes()[..], json.as_bytes()].concat())
            }
            Step::HalfClose => self.stream().shutdown(Shutdown::Write),
            Step::Response(text) => self.expect_frame(RESPONSE, text.as_bytes()),
            Step::Error(text) => self.expect_frame(ERROR, text),
            Step::Bytes(bytes) => {
                let mut came = vec![0; bytes.len()];
                self.stream().read_exact(&mut came)?;
                is(&came, bytes)
            }
            Step::InflatedEof(bytes) => {
                let mut came = Vec::new();
                self.stream().read_to_end(&mut came)?;
                is(&inflated(&came)?, bytes)
            }
            Step::Message(letter, attempts, body) => self.expect_message(letter, attempts, body),
            Step::Open => {
                self.send(b"PUB is_it_open#ephemeral\n\0\0\0\x01x")?;
                self.expect_frame(RESPONSE, b"OK")
            }
            Step::Eof => {
                let mut came = Vec::new();
                self.stream().read_to_end(&mut came)?;
                is(&came, b"")
            }
            Step::Reset => {
                let mut came = Vec::new();
                let end = self.stream().read_to_end(&mut came);
                is(&came, b"")?;
                match end {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
                    end => Err(io::Error::other(format!("it ended with {end:?}"))),
                }
            }
            Step::EofAmidHeartbeats(error) => loop {
                let mut first = [0];
                if self.stream().peek(&mut first)? == 0 {
                    return is(b"", error);
                }
                let came = self.frame()?;
                if came != frame(RESPONSE, b"_heartbeat_") {
                    is(&came, &frame(ERROR, error))?;
                    return self.take(Step::EofAmidHeartbeats(b""));
                }
            },
        }
    }

    /// Makes the current connection if there is none yet.
    fn connect(&mut self, magic: bool) -> io::Result<()> {
        if self.connections.contains_key(&self.current) {
            return Ok(());
        }
        let stream = TcpStream::connect(self.address)?;
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
        is(&self.frame()?, &frame(kind, &self.filled_in(payload)))
    }

    fn expect_message(&mut self, letter: char, attempts: u16, body: &[u8]) -> io::Result<()> {
        let came = self.frame()?;
        let (Some(timestamp), Some(id)) = (came.get(8..16), came.get(18..34)) else {
            return Err(io::Error::other(format!(
                "no message: {}",
                came.escape_ascii()
            )));
        };
        let known = self.placeholders.entry(letter).or_insert(id.to_vec());
        let expected = [timestamp, &attempts.to_be_bytes(), known, body].concat();
        is(&came, &frame(MESSAGE, &expected))?;
        let is_hexadecimal = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        let timestamp = i64::from_be_bytes(timestamp.try_into().map_err(io::Error::other)?);
        let plausible = known.iter().all(is_hexadecimal) && timestamp > 1_700_000_000_000_000_000;
        match plausible {
            true => Ok(()),
            false => Err(io::Error::other(format!("{timestamp} {known:?}"))),
        }
    }

    /// The next frame as it came, with its size and its type.
    fn frame(&self) -> io::Result<Vec<u8>> {
        let mut size = [0; 4];
        self.stream().read_exact(&mut size)?;
        let length = u32::from_be_bytes(size).min(1 << 20);
        let mut frame = vec![0; length as usize];
        self.stream().read_exact(&mut frame)?;
        Ok([&size[..], &frame].concat())
    }

    /// With what stands for the placeholders.
    fn filled_in(&self, bytes: &[u8]) -> Vec<u8> {
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

/// What a deflate stream without an end holds.
fn inflated(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut inflated = Vec::with_capacity(1 << 16);
    flate2::Decompress::new(false)
        .decompress_vec(bytes, &mut inflated, flate2::FlushDecompress::Sync)
        .map_err(io::Error::other)?;
    Ok(inflated)
}

fn is(came: &[u8], expected: &[u8]) -> io::Result<()> {
    match came == expected {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "\n  expected \"{}\"\n  came     \"{}\"",
            expected.escape_ascii(),
            came.escape_ascii()
        ))),
    }
}
