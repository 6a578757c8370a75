//! A connection without its socket and its layers: plain bytes go in, frames come out.

mod perform;

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BytesMut};
use tokio::sync::Notify;

use super::{
    auth::Authorization,
    builder::Options,
    channel::Terms,
    consuming::Subscription,
    identify::{Negotiated, Upgrade},
    misbehaviour::{Ending, Reaction, fatal},
    parser::{self, Action, Command, Line, Parsed, READ_BUFFER, Situation, Stage},
    state::State,
};

const RESPONSE: u32 = 0;
const ERROR: u32 = 1;
const MAGIC: &[u8] = b"  V2";
pub(super) const OK: &[u8] = b"\0\0\0\x06\0\0\0\0OK";
pub(super) const HEARTBEAT: &[u8] = b"\0\0\0\x0f\0\0\0\0_heartbeat_";

/// The protocol's side of a connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) number: u64,
    /// Read, and not yet executed.
    pub(super) input: BytesMut,
    pub(super) magic: bool,
    pub(super) negotiated: Negotiated,
    /// The interval of the heartbeats. nsqd's ticker listens to the first IDENTIFY only, though the
    /// read dead-line follows every one.
    pub(super) ticker: Option<Duration>,
    pub(super) identified: bool,
    /// How it wants its messages: like the ticker, as the first IDENTIFY has it.
    terms: Terms,
    stage: Stage,
    subscription: Option<Subscription>,
    /// The name in the client's certificate.
    pub(super) common_name: String,
    authorization: Authorization,
    /// Whether the MPUB at the front of `input` is known to be allowed.
    mpub_checked: bool,
    /// The layers that the command just executed asks for.
    upgrade: Option<Upgrade>,
    /// Rung when there may be messages for it.
    pub(super) wake: Arc<Notify>,
    /// What nsqd says when the rest of the half command in `input` never comes.
    error_if_cut: Option<String>,
}

/// What came of all the whole commands in the input.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The frames, for one write.
    pub(super) answers: Vec<u8>,
    pub(super) commands: usize,
    /// Layers that come behind the answers. What was read behind the IDENTIFY is dropped, as nsqd does.
    pub(super) upgrade: Option<Upgrade>,
    pub(super) end: Option<Ended>,
}

/// Why no further command of the connection is executed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ended {
    /// As nsqd does it: every answer is sent first.
    Refused(Ending),
    /// A fault: what is still held back is lost.
    Cut(Ending),
}

impl Session {
    pub(super) fn new(number: u64, options: &Options) -> Self {
        let negotiated = Negotiated::new(options);
        Self {
            number,
            input: BytesMut::new(),
            magic: false,
            ticker: negotiated.heartbeat,
            terms: negotiated.terms(),
            negotiated,
            identified: false,
            stage: Stage::Init,
            subscription: None,
            common_name: String::new(),
            authorization: Authorization::default(),
            mpub_checked: false,
            upgrade: None,
            wake: Arc::default(),
            error_if_cut: None,
        }
    }

    /// Executes every whole command that was read, to the first one that ends the connection or asks for another layer.
    pub(super) fn execute_all(&mut self, state: &mut State, options: &Options) -> Batch {
        let mut batch = Batch::default();
        // Out of `self`, so that commands can borrow from it while the session executes them.
        let mut input = std::mem::take(&mut self.input);
        while batch.end.is_none() {
            if batch.upgrade.is_some() {
                input.clear();
                break;
            }
            let consumed = self.execute_next(&input, state, options, &mut batch);
            if consumed == 0 {
                break;
            }
            input.advance(consumed);
        }
        self.input = input;
        batch
    }

    /// The error frame, if there is one, for a half command whose rest never came: its sender is
    /// gone or too slow.
    pub(super) fn cut_short(&mut self) -> Vec<u8> {
        let mut answer = Vec::new();
        if let Some(error) = self.error_if_cut.take() {
            frame(&mut answer, ERROR, error.as_bytes());
        }
        answer
    }

    /// An error frame with these words.
    pub(super) fn refusal(words: &str) -> Vec<u8> {
        let mut answer = Vec::new();
        frame(&mut answer, ERROR, words.as_bytes());
        answer
    }

    /// How many bytes it used; 0 when there is not enough for anything.
    fn execute_next(
        &mut self,
        input: &[u8],
        state: &mut State,
        options: &Options,
        batch: &mut Batch,
    ) -> usize {
        if !self.magic {
            return self.expect_magic(input, state, batch);
        }
        let lacks_tls = options.tls_required && !state.has_tls(self.number);
        let (stage, heartbeats) = (self.stage, self.negotiated.heartbeat.is_some());
        let situation = |checks_mpub| Situation {
            stage,
            heartbeats,
            lacks_tls,
            checks_mpub,
        };
        let checks_mpub = options.auth.is_some() && !self.mpub_checked;
        let mut parsed = parser::next(input, &options.limits, situation(checks_mpub));
        self.error_if_cut = None;
        if let Parsed::Unchecked {
            line,
            topic,
            length,
        } = parsed
        {
            parsed = match self.check("MPUB", topic, None, state, options) {
                Ok(()) => {
                    self.mpub_checked = true;
                    parser::next(input, &options.limits, situation(false))
                }
                Err(error) => {
                    batch.commands += 1;
                    self.refuse(
                        line,
                        0,
                        error.as_bytes(),
                        state,
                        batch,
                        input.len() - length,
                    );
                    return length;
                }
            };
        }
        match parsed {
            Parsed::Whole(command) => {
                let length = command.length;
                batch.commands += 1;
                self.mpub_checked = false;
                self.execute(&command, state, options, batch, input.len() - length);
                length
            }
            Parsed::Refused {
                line,
                length,
                error,
            } => {
                if let Some(topic) = line.creates_topic()
                    && !lacks_tls
                {
                    state.make_topic(topic);
                }
                batch.commands += 1;
                self.refuse(line, 0, &error, state, batch, input.len() - length);
                length
            }
            Parsed::Half { line, error } => {
                if let Some(topic) = line.and_then(Line::creates_topic) {
                    state.make_topic(topic);
                }
                self.error_if_cut = error;
                0
            }
            // Looked at above.
            Parsed::Unchecked { .. } => 0,
            Parsed::LineTooLong => {
                batch.end = Some(Ended::Refused(ending(input.len())));
                0
            }
        }
    }

    fn expect_magic(&mut self, input: &[u8], state: &mut State, batch: &mut Batch) -> usize {
        let Some(magic) = input.get(..MAGIC.len()) else {
            return 0;
        };
        self.magic = magic == MAGIC;
        if self.magic {
            if let Some(connection) = state.connections.get_mut(&self.number) {
                connection.magic = true;
            }
        } else {
            frame(&mut batch.answers, ERROR, b"E_BAD_PROTOCOL");
            // nsqd reads exactly these four bytes, so any more of them are unread and make the
            // kernel reset.
            let surplus = input.len() > MAGIC.len();
            batch.end = Some(Ended::Refused(if surplus {
                Ending::Reset
            } else {
                Ending::Close
            }));
        }
        MAGIC.len()
    }

    fn execute(
        &mut self,
        command: &Command<'_>,
        state: &mut State,
        options: &Options,
        batch: &mut Batch,
        behind: usize,
    ) {
        let Command {
            line,
            action,
            body_length,
            ..
        } = command;
        let raw = match state.misbehaviour.planned_for(line.name()) {
            None => None,
            Some(Reaction::Answer(bytes)) => Some(bytes),
            Some(Reaction::Fail { error, stored }) => {
                if let Action::Publish {
                    topic,
                    defer,
                    bodies,
                } = action
                    && stored > 0
                {
                    let first = bodies.get(..stored).unwrap_or(bodies);
                    state.store(topic, first, *defer, self.number);
                }
                return self.refuse(*line, *body_length, error.as_bytes(), state, batch, behind);
            }
        };

        let before = batch.answers.len();
        match (self.perform(command, state, options), raw) {
            (_, Some(bytes)) => {
                if let Action::Identify(_) = action {
                    self.upgrade = Upgrade::told_by(&bytes, options);
                }
                batch.answers.extend(bytes);
            }
            (Ok(answer), None) if answer.is_empty() => {}
            (Ok(answer), None) => frame(&mut batch.answers, RESPONSE, &answer),
            (Err(error), None) => {
                return self.refuse(*line, *body_length, &error, state, batch, behind);
            }
        }
        state.record(self.number, *line, *body_length, None);
        self.count(*line, state, batch, before);
        batch.upgrade = self.upgrade.take();
    }

    fn refuse(
        &mut self,
        line: Line<'_>,
        body_length: usize,
        error: &[u8],
        state: &mut State,
        batch: &mut Batch,
        behind: usize,
    ) {
        state.record(self.number, line, body_length, Some(error));
        let before = batch.answers.len();
        frame(&mut batch.answers, ERROR, error);
        if fatal(&String::from_utf8_lossy(error)) {
            batch.end = Some(Ended::Refused(ending(behind)));
        }
        self.count(line, state, batch, before);
    }

    /// Counts the command for `close_after_commands`; the one that completes the count stays
    /// unanswered.
    fn count(&mut self, line: Line<'_>, state: &mut State, batch: &mut Batch, before: usize) {
        if let Some(ending) = state.misbehaviour.count_command(line.name()) {
            batch.answers.truncate(before);
            batch.end = Some(Ended::Cut(ending));
        }
    }
}

/// nsqd would have left what its read buffer does not hold in the kernel, which then resets instead
/// of closing.
fn ending(unread: usize) -> Ending {
    if unread > READ_BUFFER {
        Ending::Reset
    } else {
        Ending::Close
    }
}

/// `[u32 size of the rest][u32 type][payload]`
fn frame(out: &mut Vec<u8>, kind: u32, payload: &[u8]) {
    let size = u32::try_from(payload.len() + 4).unwrap_or(u32::MAX);
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(payload);
}
