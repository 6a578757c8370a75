//! What is said on the wire, both ways: frames typed by hand, and a small parser of client commands.
//!
//! Of its own, and nothing of the crate's: a client and a peer that share code would agree on the same mistake.

use std::fmt;

/// The answer of success.
pub fn ok_frame() -> Vec<u8> {
    b"\x00\x00\x00\x06\x00\x00\x00\x00OK".to_vec()
}

/// The question whether the client lives.
pub fn heartbeat_frame() -> Vec<u8> {
    b"\x00\x00\x00\x0f\x00\x00\x00\x00_heartbeat_".to_vec()
}

/// The answer to CLS.
pub fn close_wait_frame() -> Vec<u8> {
    b"\x00\x00\x00\x0e\x00\x00\x00\x00CLOSE_WAIT".to_vec()
}

/// An error frame with the code and description as nsqd writes them, such as `E_BAD_TOPIC PUB topic name "a b" is not valid`.
pub fn error_frame(text: &str) -> Vec<u8> {
    frame(1, text.as_bytes())
}

/// A response frame with any payload.
pub fn response_frame(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(0, payload.as_ref())
}

/// What nsqd 1.3.0 with default flags answers to IDENTIFY (copied from one).
pub fn identify_answer() -> Vec<u8> {
    response_frame(
        r#"{"max_rdy_count":2500,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,"sample_rate":0,"auth_required":false,"output_buffer_size":16384,"output_buffer_timeout":250}"#,
    )
}

/// A frame of any type.
pub fn frame(kind: u32, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len() + 4).expect("a test's frame fits");
    [&size.to_be_bytes(), &kind.to_be_bytes(), payload].concat()
}

/// One client command, as the peer understood it.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Identify(serde_json::Value),
    Auth(Vec<u8>),
    Sub {
        topic: String,
        channel: String,
    },
    Pub {
        topic: String,
        body: Vec<u8>,
    },
    Mpub {
        topic: String,
        bodies: Vec<Vec<u8>>,
    },
    Dpub {
        topic: String,
        delay_ms: u64,
        body: Vec<u8>,
    },
    Rdy(u64),
    Fin(String),
    Req {
        id: String,
        delay_ms: u64,
    },
    Touch(String),
    Cls,
    Nop,
}

impl Command {
    /// Reads one command from the front: it and its length, or `None` when more bytes are needed.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, String> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let line = std::str::from_utf8(&bytes[..end]).map_err(|e| format!("command line: {e}"))?;
        let mut rest = Rest { bytes, at: end + 1 };
        let words: Vec<&str> = line.split(' ').collect();
        let command = match words[..] {
            ["IDENTIFY"] => rest.sized().map(|json| match serde_json::from_slice(json) {
                Ok(json) => Ok(Self::Identify(json)),
                Err(e) => Err(format!("IDENTIFY: {e}")),
            }),
            ["AUTH"] => rest.sized().map(|secret| Ok(Self::Auth(secret.to_vec()))),
            ["PUB", topic] => {
                let topic = topic.to_owned();
                rest.sized().map(|body| {
                    Ok(Self::Pub {
                        topic,
                        body: body.to_vec(),
                    })
                })
            }
            ["DPUB", topic, delay] => {
                let (topic, delay_ms) = (topic.to_owned(), number(delay)?);
                rest.sized().map(|body| {
                    Ok(Self::Dpub {
                        topic,
                        delay_ms,
                        body: body.to_vec(),
                    })
                })
            }
            ["MPUB", topic] => rest.sized().map(|batch| {
                let bodies = split_batch(batch)?;
                Ok(Self::Mpub {
                    topic: topic.to_owned(),
                    bodies,
                })
            }),
            ["SUB", topic, channel] => Some(Ok(Self::Sub {
                topic: topic.to_owned(),
                channel: channel.to_owned(),
            })),
            ["RDY", count] => Some(number(count).map(Self::Rdy)),
            ["FIN", id] => Some(Ok(Self::Fin(id.to_owned()))),
            ["REQ", id, delay] => Some(number(delay).map(|delay_ms| Self::Req {
                id: id.to_owned(),
                delay_ms,
            })),
            ["TOUCH", id] => Some(Ok(Self::Touch(id.to_owned()))),
            ["CLS"] => Some(Ok(Self::Cls)),
            ["NOP"] => Some(Ok(Self::Nop)),
            _ => Some(Err(format!("no command of the protocol: {line:?}"))),
        };
        let at = rest.at;
        command
            .transpose()
            .map(|command| command.map(|command| (command, at)))
    }
}

/// The bytes behind a command line.
struct Rest<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    /// A u32 length and that many bytes, once they are all there.
    fn sized(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        let sized = self.bytes.get(self.at..self.at + length)?;
        self.at += length;
        Some(sized)
    }

    fn number(&mut self) -> Option<usize> {
        let number = self.bytes.get(self.at..self.at + 4)?;
        self.at += 4;
        Some(u32::from_be_bytes(number.try_into().expect("4 bytes")) as usize)
    }
}

/// The inside of an MPUB: u32 count, then count times a u32 length and a body, and not a byte more.
fn split_batch(batch: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut rest = Rest {
        bytes: batch,
        at: 0,
    };
    let too_short = || {
        format!(
            "MPUB: a body length of {} does not hold its messages",
            batch.len()
        )
    };
    let count = rest.number().ok_or_else(too_short)?;
    let mut bodies = Vec::new();
    for _ in 0..count {
        bodies.push(rest.sized().ok_or_else(too_short)?.to_vec());
    }
    match batch.len() - rest.at {
        0 => Ok(bodies),
        extra => Err(format!("MPUB: {extra} bytes behind its {count} messages")),
    }
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|e| format!("{word:?}: {e}"))
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identify(json) => write!(f, "IDENTIFY {json}"),
            Self::Auth(secret) => write!(f, "AUTH {}", readable(secret)),
            Self::Sub { topic, channel } => write!(f, "SUB {topic} {channel}"),
            Self::Pub { topic, body } => write!(f, "PUB {topic} {}", readable(body)),
            Self::Dpub {
                topic,
                delay_ms,
                body,
            } => write!(f, "DPUB {topic} {delay_ms} {}", readable(body)),
            Self::Mpub { topic, bodies } => {
                let bodies: Vec<String> = bodies.iter().map(|body| readable(body)).collect();
                write!(f, "MPUB {topic} [{}]", bodies.join(", "))
            }
            Self::Rdy(count) => write!(f, "RDY {count}"),
            Self::Fin(id) => write!(f, "FIN {id}"),
            Self::Req { id, delay_ms } => write!(f, "REQ {id} {delay_ms}"),
            Self::Touch(id) => write!(f, "TOUCH {id}"),
            Self::Cls => f.write_str("CLS"),
            Self::Nop => f.write_str("NOP"),
        }
    }
}

/// Bytes for a reader: escaped, in quotes, and cut when there are many.
pub fn readable(bytes: &[u8]) -> String {
    const SHOWN: usize = 120;
    let shown = bytes.get(..SHOWN).unwrap_or(bytes).escape_ascii();
    match bytes.len() {
        length if length > SHOWN => format!("\"{shown}\"... ({length} bytes)"),
        _ => format!("\"{shown}\""),
    }
}
