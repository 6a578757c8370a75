//! Bytes in, commands out: one straight function per command, in nsqd's order of checks and with
//! its texts.
//!
//! Nothing is remembered between two calls: a half command is looked at again when more of it has
//! come. So every function here reads like the page of the specification it implements.

mod consumer;
mod input;

use std::time::Duration;

use input::{Input, LENGTH_FIELD};

use super::text::{base10, go_milliseconds, go_quote, valid_name};

/// nsqd's read buffer, and so the longest command line it can take, line feed included.
pub(super) const READ_BUFFER: usize = 16 * 1024;

/// The flags of nsqd that decide what it accepts.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) max_msg_size: i64,
    pub(super) max_body_size: i64,
    pub(super) max_req_timeout: Duration,
    pub(super) max_rdy_count: i64,
}

/// How far a connection has come: before its SUB, after it, after its CLS.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stage {
    Init,
    Subscribed,
    Closing,
}

/// What decides about a command besides its own bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    pub(super) stage: Stage,
    /// Whether the client has left the heartbeats on.
    pub(super) heartbeats: bool,
    /// Whether nsqd insists on TLS, and the client has none.
    pub(super) lacks_tls: bool,
    /// Whether the MPUB at the front has to wait for a look at what its sender is allowed.
    pub(super) checks_mpub: bool,
}

/// What stands at the front of the input.
#[derive(Debug, PartialEq)]
pub(super) enum Parsed<'a> {
    /// A whole command that passes nsqd's checks.
    Whole(Command<'a>),
    /// A command that nsqd refuses; seen as early as nsqd sees it, often before its body has come.
    Refused {
        line: Line<'a>,
        length: usize,
        error: Vec<u8>,
    },
    /// Not yet a whole command. `error` is what nsqd says should the rest never come: nothing
    /// within a line.
    Half {
        line: Option<Line<'a>>,
        error: Option<String>,
    },
    /// The line of an MPUB: nsqd asks whether it is allowed before it reads on.
    Unchecked {
        line: Line<'a>,
        topic: &'a str,
        length: usize,
    },
    /// nsqd's read buffer is full without a line feed in it: it hangs up without a word.
    LineTooLong,
}

#[derive(Debug, PartialEq)]
pub(super) struct Command<'a> {
    pub(super) line: Line<'a>,
    pub(super) action: Action<'a>,
    /// Bytes behind the line and its length field.
    pub(super) body_length: usize,
    /// Bytes of the whole command.
    pub(super) length: usize,
}

#[derive(Debug, PartialEq)]
pub(super) enum Action<'a> {
    Identify(&'a [u8]),
    Auth(&'a [u8]),
    Publish {
        topic: &'a str,
        defer: Option<Duration>,
        bodies: Vec<&'a [u8]>,
    },
    Nop,
    Subscribe {
        topic: &'a str,
        channel: &'a str,
    },
    Ready(i64),
    Finish(&'a [u8]),
    Requeue(&'a [u8], Duration),
    Touch(&'a [u8]),
    StartClose,
    /// A whole command that the connection's state rules out, and what nsqd says to it.
    Impossible(String),
}

/// A command line without its end. nsqd splits on single spaces, so two of them make an empty
/// parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line<'a>(pub(super) &'a [u8]);

impl<'a> Line<'a> {
    pub(super) fn name(self) -> &'a [u8] {
        self.words().next().unwrap_or_default()
    }

    /// The parameter with this number, the first being 1 (the name is number 0).
    fn parameter(self, number: usize) -> Option<&'a [u8]> {
        self.words().nth(number)
    }

    pub(super) fn words(self) -> impl Iterator<Item = &'a [u8]> {
        self.0.split(|byte| *byte == b' ')
    }

    /// nsqd makes the topic of an MPUB as soon as it has read the line, whatever becomes of the
    /// body.
    pub(super) fn creates_topic(self) -> Option<&'a str> {
        (self.name() == b"MPUB").then(|| self.parameter(1).and_then(valid_name))?
    }
}

/// Looks at the command at the front of `bytes`.
pub(super) fn next<'a>(bytes: &'a [u8], limits: &Limits, situation: Situation) -> Parsed<'a> {
    let Some(end) = bytes
        .iter()
        .take(READ_BUFFER)
        .position(|byte| *byte == b'\n')
    else {
        return if bytes.len() >= READ_BUFFER {
            Parsed::LineTooLong
        } else {
            Parsed::Half {
                line: None,
                error: None,
            }
        };
    };
    let mut input = Input::new(bytes);
    let text = input.take(end).unwrap_or_default();
    input.at = end + 1;
    let line = Line(text.strip_suffix(b"\r").unwrap_or(text));

    let action = match line.name() {
        name if name != b"IDENTIFY" && situation.lacks_tls => Err(Stop::Refused(
            [
                b"E_INVALID cannot ",
                name,
                b" in current state (TLS required)",
            ]
            .concat(),
        )),
        b"IDENTIFY" | b"AUTH" if situation.stage != Stage::Init => consumer::impossible(line),
        b"IDENTIFY" => enveloped(&mut input, "IDENTIFY", limits).map(Action::Identify),
        b"AUTH" => auth(line, &mut input, limits),
        b"PUB" => publish(line, &mut input, limits),
        b"MPUB" => multi_publish(line, &mut input, limits, situation),
        b"DPUB" => deferred_publish(line, &mut input, limits),
        b"NOP" => Ok(Action::Nop),
        b"SUB" => consumer::subscribe(line, situation),
        b"RDY" => consumer::ready(line, situation, limits),
        b"FIN" => consumer::finish(line, situation),
        b"REQ" => consumer::requeue(line, situation, limits),
        b"TOUCH" => consumer::touch(line, situation),
        b"CLS" => consumer::close(line, situation),
        unknown => Err(Stop::Refused(
            [b"E_INVALID invalid command ", unknown].concat(),
        )),
    };
    match action {
        Ok(action) => Parsed::Whole(Command {
            line,
            action,
            body_length: input.at.saturating_sub(end + 1 + LENGTH_FIELD),
            length: input.at,
        }),
        Err(Stop::Refused(error)) => Parsed::Refused {
            line,
            length: input.at,
            error,
        },
        Err(Stop::Unchecked(topic)) => Parsed::Unchecked {
            line,
            topic,
            length: input.at,
        },
        Err(Stop::Half(error)) => Parsed::Half {
            line: Some(line),
            error: Some(error),
        },
    }
}

/// Why a command cannot be had: nsqd refuses it, it has not wholly come, or nsqd must look first whether it is allowed.
enum Stop<'a> {
    Refused(Vec<u8>),
    Half(String),
    Unchecked(&'a str),
}

fn refused<'a, T>(error: String) -> Result<T, Stop<'a>> {
    Err(Stop::Refused(error.into_bytes()))
}

/// The body of an IDENTIFY or an AUTH.
fn enveloped<'a>(input: &mut Input<'a>, name: &str, limits: &Limits) -> Result<&'a [u8], Stop<'a>> {
    let size = input.size(|| format!("E_BAD_BODY {name} failed to read body size"))?;
    if i64::from(size) > limits.max_body_size {
        return refused(format!(
            "E_BAD_BODY {name} body too big {size} > {}",
            limits.max_body_size
        ));
    }
    if size <= 0 {
        return refused(format!("E_BAD_BODY {name} invalid body size {size}"));
    }
    input.body(size, || format!("E_BAD_BODY {name} failed to read body"))
}

fn auth<'a>(
    line: Line<'a>,
    input: &mut Input<'a>,
    limits: &Limits,
) -> Result<Action<'a>, Stop<'a>> {
    if line.parameter(1).is_some() {
        return refused("E_INVALID AUTH invalid number of parameters".into());
    }
    enveloped(input, "AUTH", limits).map(Action::Auth)
}

fn publish<'a>(
    line: Line<'a>,
    input: &mut Input<'a>,
    limits: &Limits,
) -> Result<Action<'a>, Stop<'a>> {
    let Some(topic) = line.parameter(1) else {
        return refused("E_INVALID PUB insufficient number of parameters".into());
    };
    let Some(topic) = valid_name(topic) else {
        return refused(format!(
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
) -> Result<Action<'a>, Stop<'a>> {
    let (Some(topic), Some(ms)) = (line.parameter(1), line.parameter(2)) else {
        return refused("E_INVALID DPUB insufficient number of parameters".into());
    };
    let Some(topic) = valid_name(topic) else {
        return refused(format!(
            "E_BAD_TOPIC DPUB topic name {} is not valid",
            go_quote(topic)
        ));
    };
    let Some(ms) = base10(ms) else {
        return Err(Stop::Refused(
            [b"E_INVALID DPUB could not parse timeout ", ms].concat(),
        ));
    };
    let Some(defer) = go_milliseconds(ms).filter(|defer| *defer <= limits.max_req_timeout) else {
        let max = limits.max_req_timeout.as_millis();
        return refused(format!("E_INVALID DPUB timeout {ms} out of range 0-{max}"));
    };
    let body = message(input, "DPUB", limits)?;
    Ok(Action::Publish {
        topic,
        defer: Some(defer),
        bodies: vec![body],
    })
}

/// The one message of a PUB or a DPUB.
fn message<'a>(input: &mut Input<'a>, name: &str, limits: &Limits) -> Result<&'a [u8], Stop<'a>> {
    let size = input.size(|| format!("E_BAD_MESSAGE {name} failed to read message body size"))?;
    if size <= 0 {
        return refused(format!(
            "E_BAD_MESSAGE {name} invalid message body size {size}"
        ));
    }
    if i64::from(size) > limits.max_msg_size {
        return refused(format!(
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
    situation: Situation,
) -> Result<Action<'a>, Stop<'a>> {
    let Some(topic) = line.parameter(1) else {
        return refused("E_INVALID MPUB insufficient number of parameters".into());
    };
    let Some(topic) = valid_name(topic) else {
        // The code twice over is nsqd's.
        return refused(format!(
            "E_BAD_TOPIC E_BAD_TOPIC MPUB topic name {} is not valid",
            go_quote(topic)
        ));
    };
    if situation.checks_mpub {
        return Err(Stop::Unchecked(topic));
    }
    // nsqd looks at this size once and then never again: the messages are read until their number
    // is reached.
    let size = input.size(|| "E_BAD_BODY MPUB failed to read body size".into())?;
    if size <= 0 {
        return refused(format!("E_BAD_BODY MPUB invalid body size {size}"));
    }
    if i64::from(size) > limits.max_body_size {
        return refused(format!(
            "E_BAD_BODY MPUB body too big {size} > {}",
            limits.max_body_size
        ));
    }
    let count = input.size(|| "E_BAD_BODY MPUB failed to read message count".into())?;
    if count <= 0 || i64::from(count) > (limits.max_body_size - 4) / 5 {
        return refused(format!("E_BAD_BODY MPUB invalid message count {count}"));
    }
    let mut bodies = Vec::new();
    for index in 0..count {
        let size = input
            .size(|| format!("E_BAD_MESSAGE MPUB failed to read message({index}) body size"))?;
        if size <= 0 {
            return refused(format!(
                "E_BAD_MESSAGE MPUB invalid message({index}) body size {size}"
            ));
        }
        if i64::from(size) > limits.max_msg_size {
            return refused(format!(
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
