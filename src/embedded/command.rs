//! The commands of the protocol, as the parser hands them to the session.

use std::time::Duration;

use super::text::valid_name;

/// How far a connection has come: before its SUB, after it, after its CLS.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stage {
    Init,
    Subscribed,
    Closing,
}

/// The state of a connection that decides about a command besides its own bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    pub(super) stage: Stage,
    /// Whether the client left heartbeats on.
    pub(super) heartbeats: bool,
    /// Whether TLS is required and the connection has none.
    pub(super) lacks_tls: bool,
    /// Whether an MPUB must be authorized before its body is read.
    pub(super) authorize_mpub: bool,
}

/// The command at the front of the input.
#[derive(Debug, PartialEq)]
pub(super) enum Parsed<'a> {
    /// A whole command that passes nsqd's checks.
    Complete(Command<'a>),
    /// A command that nsqd rejects. Detected as early as nsqd does, often before the body arrived.
    Rejected {
        line: Line<'a>,
        length: usize,
        error: Vec<u8>,
    },
    /// Not yet a whole command. `error` is nsqd's response if the input ends here; none within a
    /// line.
    Incomplete {
        line: Option<Line<'a>>,
        error: Option<String>,
    },
    /// The line of an MPUB: nsqd authorizes it before it reads on.
    NeedsAuthorization {
        line: Line<'a>,
        topic: &'a str,
        length: usize,
    },
    /// nsqd's read buffer is full and holds no line feed: nsqd closes the connection without a
    /// response.
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
    /// A command that is invalid in the current state of the connection, and nsqd's error.
    InvalidState(String),
}

/// A command line without its line end. nsqd splits on single spaces, so two spaces enclose an
/// empty parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line<'a>(pub(super) &'a [u8]);

impl<'a> Line<'a> {
    pub(super) fn name(self) -> &'a [u8] {
        self.words().next().unwrap_or_default()
    }

    /// The parameter with this number, the first being 1.
    pub(super) fn parameter(self, number: usize) -> Option<&'a [u8]> {
        self.words().nth(number)
    }

    /// The topic of an MPUB. nsqd creates it as soon as it has read the line, even if it then
    /// rejects the body.
    pub(super) fn creates_topic(self) -> Option<&'a str> {
        (self.name() == b"MPUB").then(|| self.parameter(1).and_then(valid_name))?
    }

    fn words(self) -> impl Iterator<Item = &'a [u8]> {
        self.0.split(|byte| *byte == b' ')
    }
}
