//! Parses commands: one function per command, with nsqd's checks, in nsqd's order.
//!
//! The parser keeps no state between calls: when more bytes of an incomplete command arrive, the
//! command is parsed again from its start.

use std::time::Duration;

use super::{
    command::{Action, Command, Context, Line, Parsed, Stage},
    options::Limits,
    text::{base10, go_milliseconds, go_quote, valid_name},
};

/// Size of nsqd's read buffer in bytes, and so of the longest command line, with its line feed.
pub(super) const READ_BUFFER: usize = 16 * 1024;

const LENGTH_FIELD: usize = 4;
const MESSAGE_ID_LENGTH: usize = 16;

/// Parses the command at the front of `bytes`.
pub(super) fn parse<'a>(bytes: &'a [u8], limits: &Limits, context: Context) -> Parsed<'a> {
    let Some(end) = bytes
        .iter()
        .take(READ_BUFFER)
        .position(|byte| *byte == b'\n')
    else {
        return if bytes.len() >= READ_BUFFER {
            Parsed::LineTooLong
        } else {
            Parsed::Incomplete {
                line: None,
                error: None,
            }
        };
    };
    let mut input = Input::new(bytes);
    let text = input.take(end).unwrap_or_default();
    input.position = end + 1;
    let line = Line(text.strip_suffix(b"\r").unwrap_or(text));

    let action = match line.name() {
        name if name != b"IDENTIFY" && context.lacks_tls => Err(Failure::Rejected(
            [
                b"E_INVALID cannot ",
                name,
                b" in current state (TLS required)",
            ]
            .concat(),
        )),
        b"IDENTIFY" | b"AUTH" if context.stage != Stage::Init => invalid_state(line),
        b"IDENTIFY" => sized_body(&mut input, "IDENTIFY", limits).map(Action::Identify),
        b"AUTH" => auth(line, &mut input, limits),
        b"PUB" => publish(line, &mut input, limits),
        b"MPUB" => multi_publish(line, &mut input, limits, context),
        b"DPUB" => deferred_publish(line, &mut input, limits),
        b"NOP" => Ok(Action::Nop),
        b"SUB" => subscribe(line, context),
        b"RDY" => ready(line, context, limits),
        b"FIN" => finish(line, context),
        b"REQ" => requeue(line, context, limits),
        b"TOUCH" => touch(line, context),
        b"CLS" => close(line, context),
        unknown => Err(Failure::Rejected(
            [b"E_INVALID invalid command ", unknown].concat(),
        )),
    };
    match action {
        Ok(action) => Parsed::Complete(Command {
            line,
            action,
            body_length: input.position.saturating_sub(end + 1 + LENGTH_FIELD),
            length: input.position,
        }),
        Err(Failure::Rejected(error)) => Parsed::Rejected {
            line,
            length: input.position,
            error,
        },
        Err(Failure::NeedsAuthorization(topic)) => Parsed::NeedsAuthorization {
            line,
            topic,
            length: input.position,
        },
        Err(Failure::Incomplete(error)) => Parsed::Incomplete {
            line: Some(line),
            error: Some(error),
        },
    }
}

/// Why there is no whole, valid command.
enum Failure<'a> {
    /// nsqd rejects it with this error.
    Rejected(Vec<u8>),
    /// More bytes are needed; nsqd's error if none follow.
    Incomplete(String),
    /// An MPUB to this topic must be authorized first.
    NeedsAuthorization(&'a str),
}

fn rejected<'a, T>(error: String) -> Result<T, Failure<'a>> {
    Err(Failure::Rejected(error.into_bytes()))
}

/// The body of an IDENTIFY or an AUTH.
fn sized_body<'a>(
    input: &mut Input<'a>,
    name: &str,
    limits: &Limits,
) -> Result<&'a [u8], Failure<'a>> {
    let size = input.size(|| format!("E_BAD_BODY {name} failed to read body size"))?;
    if i64::from(size) > limits.max_body_size {
        return rejected(format!(
            "E_BAD_BODY {name} body too big {size} > {}",
            limits.max_body_size
        ));
    }
    if size <= 0 {
        return rejected(format!("E_BAD_BODY {name} invalid body size {size}"));
    }
    input.body(size, || format!("E_BAD_BODY {name} failed to read body"))
}

fn auth<'a>(
    line: Line<'a>,
    input: &mut Input<'a>,
    limits: &Limits,
) -> Result<Action<'a>, Failure<'a>> {
    if line.parameter(1).is_some() {
        return rejected("E_INVALID AUTH invalid number of parameters".into());
    }
    sized_body(input, "AUTH", limits).map(Action::Auth)
}

fn publish<'a>(
    line: Line<'a>,
    input: &mut Input<'a>,
    limits: &Limits,
) -> Result<Action<'a>, Failure<'a>> {
    let Some(topic) = line.parameter(1) else {
        return rejected("E_INVALID PUB insufficient number of parameters".into());
    };
    let Some(topic) = valid_name(topic) else {
        return rejected(format!(
            "E_BAD_TOPIC PUB topic name {} is not valid",
            go_quote(topic)
        ));
    };
    let body = message(input, "PUB", limits)?;
    Ok(Action::Publish {
        topic,
        defer: None,
        bodies: vec![body],
    })
}

fn deferred_publish<'a>(
    line: Line<'a>,
    input: &mut Input<'a>,
    limits: &Limits,
) -> Result<Action<'a>, Failure<'a>> {
    let (Some(topic), Some(ms)) = (line.parameter(1), line.parameter(2)) else {
        return rejected("E_INVALID DPUB insufficient number of parameters".into());
    };
    let Some(topic) = valid_name(topic) else {
        return rejected(format!(
            "E_BAD_TOPIC DPUB topic name {} is not valid",
            go_quote(topic)
        ));
    };
    let Some(ms) = base10(ms) else {
        return Err(Failure::Rejected(
            [b"E_INVALID DPUB could not parse timeout ", ms].concat(),
        ));
    };
    let Some(defer) = go_milliseconds(ms).filter(|defer| *defer <= limits.max_req_timeout) else {
        let max = limits.max_req_timeout.as_millis();
        return rejected(format!("E_INVALID DPUB timeout {ms} out of range 0-{max}"));
    };
    let body = message(input, "DPUB", limits)?;
    Ok(Action::Publish {
        topic,
        defer: Some(defer),
        bodies: vec![body],
    })
}

/// The one message of a PUB or a DPUB.
fn message<'a>(
    input: &mut Input<'a>,
    name: &str,
    limits: &Limits,
) -> Result<&'a [u8], Failure<'a>> {
    let size = input.size(|| format!("E_BAD_MESSAGE {name} failed to read message body size"))?;
    if size <= 0 {
        return rejected(format!(
            "E_BAD_MESSAGE {name} invalid message body size {size}"
        ));
    }
    if i64::from(size) > limits.max_msg_size {
        return rejected(format!(
            "E_BAD_MESSAGE {name} message too big {size} > {}",
            limits.max_msg_size
        ));
    }
    input.body(size, || {
        format!("E_BAD_MESSAGE {name} failed to read message body")
    })
}

fn multi_publish<'a>(
    line: Line<'a>,
    input: &mut Input<'a>,
    limits: &Limits,
    context: Context,
) -> Result<Action<'a>, Failure<'a>> {
    let Some(topic) = line.parameter(1) else {
        return rejected("E_INVALID MPUB insufficient number of parameters".into());
    };
    let Some(topic) = valid_name(topic) else {
        // nsqd repeats the error code.
        return rejected(format!(
            "E_BAD_TOPIC E_BAD_TOPIC MPUB topic name {} is not valid",
            go_quote(topic)
        ));
    };
    if context.authorize_mpub {
        return Err(Failure::NeedsAuthorization(topic));
    }
    // nsqd compares this size with the limit only: it reads messages until their count is reached.
    let size = input.size(|| "E_BAD_BODY MPUB failed to read body size".into())?;
    if size <= 0 {
        return rejected(format!("E_BAD_BODY MPUB invalid body size {size}"));
    }
    if i64::from(size) > limits.max_body_size {
        return rejected(format!(
            "E_BAD_BODY MPUB body too big {size} > {}",
            limits.max_body_size
        ));
    }
    let count = input.size(|| "E_BAD_BODY MPUB failed to read message count".into())?;
    if count <= 0 || i64::from(count) > (limits.max_body_size - 4) / 5 {
        return rejected(format!("E_BAD_BODY MPUB invalid message count {count}"));
    }
    let mut bodies = Vec::new();
    for index in 0..count {
        let size = input
            .size(|| format!("E_BAD_MESSAGE MPUB failed to read message({index}) body size"))?;
        if size <= 0 {
            return rejected(format!(
                "E_BAD_MESSAGE MPUB invalid message({index}) body size {size}"
            ));
        }
        if i64::from(size) > limits.max_msg_size {
            return rejected(format!(
                "E_BAD_MESSAGE MPUB message too big {size} > {}",
                limits.max_msg_size
            ));
        }
        bodies.push(input.body(size, || {
            "E_BAD_MESSAGE MPUB failed to read message body".into()
        })?);
    }
    Ok(Action::Publish {
        topic,
        defer: None,
        bodies,
    })
}

fn subscribe<'a>(line: Line<'a>, context: Context) -> Result<Action<'a>, Failure<'a>> {
    if context.stage != Stage::Init {
        return invalid_state(line);
    }
    if !context.heartbeats {
        return Ok(Action::InvalidState(
            "E_INVALID cannot SUB with heartbeats disabled".into(),
        ));
    }
    let (Some(topic), Some(channel)) = (line.parameter(1), line.parameter(2)) else {
        return rejected("E_INVALID SUB insufficient number of parameters".into());
    };
    let Some(topic) = valid_name(topic) else {
        return rejected(format!(
            "E_BAD_TOPIC SUB topic name {} is not valid",
            go_quote(topic)
        ));
    };
    let Some(channel) = valid_name(channel) else {
        return rejected(format!(
            "E_BAD_CHANNEL SUB channel name {} is not valid",
            go_quote(channel)
        ));
    };
    Ok(Action::Subscribe { topic, channel })
}

fn ready<'a>(line: Line<'a>, context: Context, limits: &Limits) -> Result<Action<'a>, Failure<'a>> {
    match context.stage {
        Stage::Init => return invalid_state(line),
        Stage::Subscribed => {}
        // nsqd ignores it, even with an invalid parameter.
        Stage::Closing => return Ok(Action::Nop),
    }
    let Some(digits) = line.parameter(1) else {
        return Ok(Action::Ready(1));
    };
    let Some(count) = base10(digits) else {
        return unparsable(b"E_INVALID RDY could not parse count ", digits);
    };
    let count = count.cast_signed();
    let max = limits.max_rdy_count;
    if !(0..=max).contains(&count) {
        return rejected(format!("E_INVALID RDY count {count} out of range 0-{max}"));
    }
    Ok(Action::Ready(count))
}

fn finish(line: Line<'_>, context: Context) -> Result<Action<'_>, Failure<'_>> {
    if context.stage == Stage::Init {
        return invalid_state(line);
    }
    message_id(line, "FIN").map(Action::Finish)
}

fn touch(line: Line<'_>, context: Context) -> Result<Action<'_>, Failure<'_>> {
    if context.stage == Stage::Init {
        return invalid_state(line);
    }
    message_id(line, "TOUCH").map(Action::Touch)
}

fn requeue<'a>(
    line: Line<'a>,
    context: Context,
    limits: &Limits,
) -> Result<Action<'a>, Failure<'a>> {
    if context.stage == Stage::Init {
        return invalid_state(line);
    }
    let Some(digits) = line.parameter(2) else {
        return rejected("E_INVALID REQ insufficient number of params".into());
    };
    let id = message_id(line, "REQ")?;
    let Some(ms) = base10(digits) else {
        return unparsable(b"E_INVALID REQ could not parse timeout ", digits);
    };
    // nsqd clamps a delay that is out of range.
    let delay = go_milliseconds(ms).unwrap_or(Duration::ZERO);
    Ok(Action::Requeue(id, delay.min(limits.max_req_timeout)))
}

fn close(line: Line<'_>, context: Context) -> Result<Action<'_>, Failure<'_>> {
    match context.stage {
        Stage::Subscribed => Ok(Action::StartClose),
        Stage::Init | Stage::Closing => invalid_state(line),
    }
}

/// A command that is valid only at another stage of the connection.
fn invalid_state(line: Line<'_>) -> Result<Action<'_>, Failure<'_>> {
    Ok(Action::InvalidState(format!(
        "E_INVALID cannot {} in current state",
        String::from_utf8_lossy(line.name())
    )))
}

fn message_id<'a>(line: Line<'a>, name: &str) -> Result<&'a [u8], Failure<'a>> {
    let Some(id) = line.parameter(1) else {
        return rejected(format!("E_INVALID {name} insufficient number of params"));
    };
    if id.len() != MESSAGE_ID_LENGTH {
        return rejected("E_INVALID invalid message ID".into());
    }
    Ok(id)
}

fn unparsable<'a, T>(text: &[u8], digits: &[u8]) -> Result<T, Failure<'a>> {
    Err(Failure::Rejected([text, digits].concat()))
}

/// Reads the fields of a command one after the other.
struct Input<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Input<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// A length or a count: nsqd reads all of them as signed. `error` is nsqd's response if the
    /// input ends before it.
    fn size(&mut self, error: impl FnOnce() -> String) -> Result<i32, Failure<'a>> {
        let field = self
            .take(LENGTH_FIELD)
            .and_then(|field| <[u8; LENGTH_FIELD]>::try_from(field).ok());
        field
            .map(i32::from_be_bytes)
            .ok_or_else(|| Failure::Incomplete(error()))
    }

    fn body(&mut self, size: i32, error: impl FnOnce() -> String) -> Result<&'a [u8], Failure<'a>> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        self.take(size).ok_or_else(|| Failure::Incomplete(error()))
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let end = self.position.checked_add(n)?;
        let taken = self.bytes.get(self.position..end)?;
        self.position = end;
        Some(taken)
    }
}
