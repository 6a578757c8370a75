//! The protocol of one connection, without its socket and layers: bytes in, frames out.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BytesMut};
use tokio::sync::Notify;

use super::{
    auth::{AuthRequest, Authorization},
    channel::{Channel, DeliverySettings, NOT_IN_FLIGHT},
    command::{Action, Command, Context, Line, Parsed, Stage},
    fault_state::{CloseMode, Reaction, closes_connection},
    frame,
    identify::Negotiated,
    options::Options,
    parser::{self, READ_BUFFER},
    state::{State, Subscription},
    upgrade::Upgrade,
};

const MAGIC: &[u8] = b"  V2";

/// Maximum bytes of messages taken at once, unless a single message is larger. Equal to one read.
const MESSAGE_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) number: u64,
    /// Bytes that were read and not yet executed.
    pub(super) input: BytesMut,
    /// Whether the magic was received.
    pub(super) magic: bool,
    pub(super) identified: bool,
    pub(super) negotiated: Negotiated,
    /// Period of the heartbeats. As in nsqd it follows the first IDENTIFY only, whereas the read
    /// deadline follows each.
    pub(super) heartbeat_period: Option<Duration>,
    /// As in nsqd, from the first IDENTIFY only.
    delivery: DeliverySettings,
    stage: Stage,
    subscription: Option<Subscription>,
    /// The common name in the client's certificate.
    pub(super) common_name: String,
    authorization: Authorization,
    /// Whether the MPUB at the front of `input` is authorized.
    mpub_authorized: bool,
    /// The layers requested by the command that is being executed.
    upgrade: Option<Upgrade>,
    /// Notified when there may be messages for this consumer.
    pub(super) wake: Arc<Notify>,
    /// nsqd's response if the input ends within the incomplete command in `input`.
    incomplete_error: Option<String>,
    /// Whether the command at the front of `input` waits for the start of its topic.
    pub(super) held: bool,
}

/// The result of executing the input.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The frames, for one write.
    pub(super) responses: Vec<u8>,
    pub(super) commands: usize,
    /// Layers to add behind the responses. As in nsqd, bytes read behind the IDENTIFY are dropped.
    pub(super) upgrade: Option<Upgrade>,
    pub(super) end: Option<ConnectionEnd>,
}

/// How the connection ends. No further command is executed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ConnectionEnd {
    /// After all pending output is sent, as in nsqd.
    AfterOutput(CloseMode),
    /// By a fault, and without the output that other faults hold back.
    Immediate(CloseMode),
}

impl Session {
    pub(super) fn new(number: u64, options: &Options) -> Self {
        let negotiated = Negotiated::new(options);
        Self {
            number,
            input: BytesMut::new(),
            magic: false,
            identified: false,
            heartbeat_period: negotiated.heartbeat,
            delivery: negotiated.delivery_settings(),
            negotiated,
            stage: Stage::Init,
            subscription: None,
            common_name: String::new(),
            authorization: Authorization::default(),
            mpub_authorized: false,
            upgrade: None,
            wake: Arc::default(),
            incomplete_error: None,
            held: false,
        }
    }

    /// Executes all complete commands in the input, up to one that ends the connection or adds a
    /// layer.
    pub(super) fn execute_input(&mut self, state: &mut State, options: &Options) -> Batch {
        let mut batch = Batch::default();
        // Taken out of `self`, because commands borrow from it.
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

    /// Returns nsqd's error frame for an incomplete command when the input ends or times out; empty
    /// if there is none.
    pub(super) fn end_of_input(&mut self) -> Vec<u8> {
        let mut response = Vec::new();
        if let Some(error) = self.incomplete_error.take() {
            frame::error(&mut response, error.as_bytes());
        }
        response
    }

    /// Returns the frames of messages that the consumer is ready for, and whether there are more.
    pub(super) fn take_messages(&self, state: &mut State) -> (Vec<u8>, bool) {
        let mut frames = Vec::new();
        let more = self.subscription.as_ref().is_some_and(|subscription| {
            state.take_messages(
                self.number,
                subscription,
                self.delivery,
                MESSAGE_BYTES,
                &mut frames,
            )
        });
        (frames, more)
    }

    /// Whether nsqd would send more messages to the consumer, if it had any.
    pub(super) fn is_ready(&self, state: &mut State) -> bool {
        let channel = self.subscription.as_ref().and_then(|of| state.channel(of));
        channel.is_some_and(|channel| channel.is_ready(self.number))
    }

    pub(super) fn is_subscribed(&self) -> bool {
        self.subscription.is_some()
    }

    /// Executes the command at the front of the input. Returns its length; 0 if more input is
    /// needed.
    fn execute_next(
        &mut self,
        input: &[u8],
        state: &mut State,
        options: &Options,
        batch: &mut Batch,
    ) -> usize {
        if !self.magic {
            return self.read_magic(input, state, batch);
        }
        let mut context = Context {
            stage: self.stage,
            heartbeats: self.negotiated.heartbeat.is_some(),
            lacks_tls: options.tls_required && !state.has_tls(self.number),
            authorize_mpub: options.auth.is_some() && !self.mpub_authorized,
        };
        let mut parsed = parser::parse(input, &options.limits, context);
        self.incomplete_error = None;
        if let Parsed::NeedsAuthorization {
            line,
            topic,
            length,
        } = parsed
        {
            if let Err(error) = self.check("MPUB", topic, None, state, options) {
                batch.commands += 1;
                self.reject(
                    line,
                    0,
                    error.as_bytes(),
                    state,
                    batch,
                    input.len() - length,
                );
                return length;
            }
            self.mpub_authorized = true;
            context.authorize_mpub = false;
            parsed = parser::parse(input, &options.limits, context);
        }
        self.held = self.must_wait(&parsed, context, state, options);
        if self.held {
            return 0;
        }
        match parsed {
            Parsed::Complete(command) => {
                let length = command.length;
                batch.commands += 1;
                self.mpub_authorized = false;
                self.execute_with_faults(&command, state, options, batch, input.len() - length);
                length
            }
            Parsed::Rejected {
                line,
                length,
                error,
            } => {
                if let Some(topic) = line.creates_topic()
                    && !context.lacks_tls
                {
                    state.get_or_create_topic(topic);
                }
                batch.commands += 1;
                self.reject(line, 0, &error, state, batch, input.len() - length);
                length
            }
            Parsed::Incomplete { line, error } => {
                if let Some(topic) = line.and_then(Line::creates_topic) {
                    state.get_or_create_topic(topic);
                }
                self.incomplete_error = error;
                0
            }
            // Impossible: handled above.
            Parsed::NeedsAuthorization { .. } => 0,
            Parsed::LineTooLong => {
                batch.end = Some(ConnectionEnd::AfterOutput(close_mode(input.len())));
                0
            }
        }
    }

    /// Whether nsqd would first query nsqlookupds, because the command creates its topic.
    fn must_wait(
        &mut self,
        parsed: &Parsed<'_>,
        context: Context,
        state: &mut State,
        options: &Options,
    ) -> bool {
        if options.registration.lookupds.is_empty() {
            return false;
        }
        let (line, topic, channel) = match parsed {
            Parsed::Complete(command) => match &command.action {
                Action::Publish { topic, .. } => (command.line, *topic, None),
                Action::Subscribe { topic, channel } => (command.line, *topic, Some(*channel)),
                _ => return false,
            },
            Parsed::Rejected { line, .. } if !context.lacks_tls => match line.creates_topic() {
                Some(topic) => (*line, topic, None),
                None => return false,
            },
            Parsed::Incomplete {
                line: Some(line), ..
            } => match line.creates_topic() {
                Some(topic) => (*line, topic, None),
                None => return false,
            },
            _ => return false,
        };
        let name = String::from_utf8_lossy(line.name());
        // An MPUB was checked before.
        let denied = name != "MPUB" && self.check(&name, topic, channel, state, options).is_err();
        if denied || state.faults.has_one_shot(line.name()) {
            return false;
        }
        state.must_wait(topic, self.number, &self.wake)
    }

    fn read_magic(&mut self, input: &[u8], state: &mut State, batch: &mut Batch) -> usize {
        let Some(magic) = input.get(..MAGIC.len()) else {
            return 0;
        };
        self.magic = magic == MAGIC;
        if self.magic {
            if let Some(connection) = state.connections.get_mut(&self.number) {
                connection.magic = true;
            }
        } else {
            frame::error(&mut batch.responses, b"E_BAD_PROTOCOL");
            // nsqd reads exactly four bytes. If it leaves more unread, the kernel resets.
            let mode = if input.len() > MAGIC.len() {
                CloseMode::Reset
            } else {
                CloseMode::Close
            };
            batch.end = Some(ConnectionEnd::AfterOutput(mode));
        }
        MAGIC.len()
    }

    /// Executes a command, or applies the fault set up for it. `unread` is the number of bytes read
    /// behind it.
    fn execute_with_faults(
        &mut self,
        command: &Command<'_>,
        state: &mut State,
        options: &Options,
        batch: &mut Batch,
        unread: usize,
    ) {
        let Command {
            line,
            action,
            body_length,
            ..
        } = command;
        let replacement = match state.faults.take_one_shot(line.name()) {
            None => None,
            Some(Reaction::Respond(bytes)) => Some(bytes),
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
                return self.reject(*line, *body_length, error.as_bytes(), state, batch, unread);
            }
        };

        let before = batch.responses.len();
        match (self.execute(command, state, options), replacement) {
            (_, Some(bytes)) => {
                if let Action::Identify(_) = action {
                    self.upgrade = Upgrade::announced_by(&bytes, options.tls.is_some());
                }
                batch.responses.extend(bytes);
            }
            (Ok(response), None) if response.is_empty() => {}
            (Ok(response), None) => frame::response(&mut batch.responses, &response),
            (Err(error), None) => {
                return self.reject(*line, *body_length, &error, state, batch, unread);
            }
        }
        state.record_command(self.number, *line, *body_length, None);
        self.count(*line, state, batch, before);
        batch.upgrade = self.upgrade.take();
    }

    fn reject(
        &mut self,
        line: Line<'_>,
        body_length: usize,
        error: &[u8],
        state: &mut State,
        batch: &mut Batch,
        unread: usize,
    ) {
        state.record_command(self.number, line, body_length, Some(error));
        let before = batch.responses.len();
        frame::error(&mut batch.responses, error);
        if closes_connection(&String::from_utf8_lossy(error)) {
            batch.end = Some(ConnectionEnd::AfterOutput(close_mode(unread)));
        }
        self.count(line, state, batch, before);
    }

    /// Counts the command for `close_after_commands`, and removes the response to the last one.
    fn count(&mut self, line: Line<'_>, state: &mut State, batch: &mut Batch, before: usize) {
        if let Some(mode) = state.faults.count_command(line.name()) {
            batch.responses.truncate(before);
            batch.end = Some(ConnectionEnd::Immediate(mode));
        }
    }

    /// Executes a command. Returns the response, empty where nsqd sends none, or nsqd's error.
    fn execute(
        &mut self,
        command: &Command<'_>,
        state: &mut State,
        options: &Options,
    ) -> Result<Vec<u8>, Vec<u8>> {
        match &command.action {
            Action::Identify(body) => {
                let identified = self.negotiated.identify(body, options)?;
                if !self.identified {
                    self.identified = true;
                    self.heartbeat_period = self.negotiated.heartbeat;
                    self.delivery = self.negotiated.delivery_settings();
                }
                if let Some(connection) = state.connections.get_mut(&self.number) {
                    connection.identify.get_or_insert(identified.request);
                }
                self.upgrade = identified.upgrade;
                Ok(identified.response)
            }
            Action::Auth(secret) => Ok(self.authenticate(secret, state, options)?),
            Action::Publish {
                topic,
                defer,
                bodies,
            } => {
                // An MPUB was checked before its body was read.
                match command.line.name() {
                    b"PUB" => self.check("PUB", topic, None, state, options)?,
                    b"DPUB" => self.check("DPUB", topic, None, state, options)?,
                    _ => {}
                }
                state.store(topic, bodies, *defer, self.number);
                Ok(b"OK".to_vec())
            }
            Action::Nop => Ok(Vec::new()),
            Action::InvalidState(error) => Err(error.clone().into()),
            Action::Subscribe { topic, channel } => {
                self.check("SUB", topic, Some(channel), state, options)?;
                let subscription = Subscription {
                    topic: (*topic).to_owned(),
                    channel: (*channel).to_owned(),
                };
                state.subscribe(self.number, subscription.clone(), &self.wake);
                self.subscription = Some(subscription);
                self.stage = Stage::Subscribed;
                Ok(b"OK".to_vec())
            }
            Action::Ready(count) => {
                self.set_ready_count(*count, state);
                Ok(Vec::new())
            }
            Action::StartClose => {
                self.set_ready_count(0, state);
                self.stage = Stage::Closing;
                if let Some(connection) = state.connections.get_mut(&self.number) {
                    connection.closing = true;
                }
                Ok(b"CLOSE_WAIT".to_vec())
            }
            Action::Finish(id) => self.settle("FIN", id, state, |channel, connection| {
                channel.finish(connection, id)
            }),
            Action::Requeue(id, delay) => self.settle("REQ", id, state, |channel, connection| {
                channel.requeue(connection, id, *delay)
            }),
            Action::Touch(id) => {
                let (timeout, longest) = (self.negotiated.msg_timeout, options.max_msg_timeout);
                self.settle("TOUCH", id, state, |channel, connection| {
                    channel.touch(connection, id, timeout, longest)
                })
            }
        }
    }

    fn authenticate(
        &mut self,
        secret: &[u8],
        state: &mut State,
        options: &Options,
    ) -> Result<Vec<u8>, String> {
        let Some(connection) = state.connections.get(&self.number) else {
            // Impossible: the connection is removed only after it is closed.
            return Err("E_AUTH_FAILED AUTH failed".into());
        };
        let (peer, tls) = (connection.peer, connection.tls.is_some());
        let request = AuthRequest::new(secret, peer, tls, self.common_name.clone());
        let response = self
            .authorization
            .authenticate(options.auth.as_ref(), request);
        self.publish_identity(state);
        response
    }

    /// Checks whether the client may execute a command, or returns nsqd's error.
    fn check(
        &mut self,
        command: &str,
        topic: &str,
        channel: Option<&str>,
        state: &mut State,
        options: &Options,
    ) -> Result<(), String> {
        let authorizer = options.auth.as_ref();
        let checked = self
            .authorization
            .check(authorizer, command, topic, channel);
        self.publish_identity(state);
        checked
    }

    /// Shows the identity of the client in the list of connections.
    fn publish_identity(&self, state: &mut State) {
        let identity = self.authorization.identity();
        if let Some(connection) = state.connections.get_mut(&self.number)
            && connection.auth_identity.as_deref() != identity
        {
            connection.auth_identity = identity.map(str::to_owned);
        }
    }

    fn set_ready_count(&self, count: i64, state: &mut State) {
        let channel = self.subscription.as_ref().and_then(|of| state.channel(of));
        let consumer = channel.and_then(|channel| channel.consumers.get_mut(&self.number));
        if let Some(consumer) = consumer {
            consumer.ready_count = count;
        }
    }

    /// Executes a FIN, REQ or TOUCH. Their failure does not close the connection.
    fn settle(
        &self,
        name: &str,
        id: &[u8],
        state: &mut State,
        act: impl FnOnce(&mut Channel, u64) -> Result<(), &'static str>,
    ) -> Result<Vec<u8>, Vec<u8>> {
        let channel = self.subscription.as_ref().and_then(|of| state.channel(of));
        let (outcome, due) = match channel {
            Some(channel) => (act(channel, self.number), channel.next_due()),
            None => (Err(NOT_IN_FLIGHT), None),
        };
        state.schedule_expiry(due);
        let failed = |reason: &str| {
            let code = format!("E_{name}_FAILED {name} ");
            [code.as_bytes(), id, b" failed ", reason.as_bytes()].concat()
        };
        outcome.map(|()| Vec::new()).map_err(failed)
    }
}

/// How the kernel closes nsqd's socket: with a reset if bytes are left that nsqd's read buffer does
/// not hold.
fn close_mode(unread: usize) -> CloseMode {
    if unread > READ_BUFFER {
        CloseMode::Reset
    } else {
        CloseMode::Close
    }
}
