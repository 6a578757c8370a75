//! Frames, and client commands as values. Shares no code with the crate.

use std::fmt;

use super::command::{Verb, number, try_read};

/// `OK`
pub fn ok_frame() -> Vec<u8> {
    b"\x00\x00\x00\x06\x00\x00\x00\x00OK".to_vec()
}

/// A heartbeat.
pub fn heartbeat_frame() -> Vec<u8> {
    b"\x00\x00\x00\x0f\x00\x00\x00\x00_heartbeat_".to_vec()
}

/// The response to CLS.
pub fn close_wait_frame() -> Vec<u8> {
    b"\x00\x00\x00\x0e\x00\x00\x00\x00CLOSE_WAIT".to_vec()
}

/// An error frame, with text such as `E_BAD_TOPIC PUB topic name "a b" is not valid`.
pub fn error_frame(text: &str) -> Vec<u8> {
    frame(1, text.as_bytes())
}

/// A response frame with any payload.
pub fn response_frame(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(0, payload.as_ref())
}

/// The response to IDENTIFY of nsqd 1.3.0 with default flags.
pub fn identify_answer() -> Vec<u8> {
    response_frame(
        r#"{"max_rdy_count":2500,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,"sample_rate":0,"auth_required":false,"output_buffer_size":16384,"output_buffer_timeout":250}"#,
    )
}

/// The id of a message with this number.
pub fn message_id(number: u64) -> String {
    format!("{number:016x}")
}

/// A message frame. The timestamp is the number.
pub fn message_frame(number: u64, attempts: u16, body: impl AsRef<[u8]>) -> Vec<u8> {
    let id = message_id(number);
    let payload = [
        &number.to_be_bytes()[..],
        &attempts.to_be_bytes(),
        id.as_bytes(),
        body.as_ref(),
    ];
    frame(2, &payload.concat())
}

/// A frame of any type.
pub fn frame(kind: u32, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len() + 4).expect("a test's frame fits");
    [&size.to_be_bytes(), &kind.to_be_bytes(), payload].concat()
}

/// A client command.
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
    /// The first command and its length. `None` if it is incomplete.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, String> {
        let Some(command) = try_read(bytes, 0)? else {
            return Ok(None);
        };
        let Some(end) = command.end else {
            return Ok(None);
        };
        let bodies = command.bodies.into_iter().map(|body| bytes[body].to_vec());
        let mut bodies: Vec<_> = bodies.collect();
        let mut body = || bodies.pop().unwrap_or_default();
        let (topic, delay_ms) = (command.topic, command.delay.unwrap_or_default());
        let word = |at: usize| command.words.get(at).cloned().unwrap_or_default();
        let parsed = match command.verb {
            Verb::Identify => match serde_json::from_slice(&body()) {
                Ok(json) => Self::Identify(json),
                Err(error) => return Err(format!("IDENTIFY: {error}")),
            },
            Verb::Auth => Self::Auth(body()),
            Verb::Sub => Self::Sub {
                topic,
                channel: word(1),
            },
            Verb::Pub => Self::Pub {
                topic,
                body: body(),
            },
            Verb::Mpub => Self::Mpub { topic, bodies },
            Verb::Dpub => Self::Dpub {
                topic,
                delay_ms,
                body: body(),
            },
            Verb::Rdy => Self::Rdy(number(&word(0))?),
            Verb::Fin => Self::Fin(word(0)),
            Verb::Req => Self::Req {
                id: word(0),
                delay_ms: number(&word(1))?,
            },
            Verb::Touch => Self::Touch(word(0)),
            Verb::Cls => Self::Cls,
            Verb::Nop => Self::Nop,
        };
        Ok(Some((parsed, end)))
    }
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

/// Bytes as quoted, escaped and shortened text.
pub fn readable(bytes: &[u8]) -> String {
    const SHOWN: usize = 120;
    let shown = bytes.get(..SHOWN).unwrap_or(bytes).escape_ascii();
    match bytes.len() {
        length if length > SHOWN => format!("\"{shown}\"... ({length} bytes)"),
        _ => format!("\"{shown}\""),
    }
}
