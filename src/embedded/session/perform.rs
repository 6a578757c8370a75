//! What a whole command does, and what is answered.

use super::Session;
use crate::embedded::{
    builder::Options,
    channel::{Channel, NOT_IN_FLIGHT},
    parser::{Action, Command, Stage},
    state::State,
};

/// So many bytes of messages at most are taken at once, unless a single one is longer.
const ROOM: usize = 64 * 1024;

impl Session {
    /// The answer; nothing in it where nsqd gives none.
    pub(super) fn perform(
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
                    self.ticker = self.negotiated.heartbeat;
                    self.terms = self.negotiated.terms();
                }
                if let Some(connection) = state.connections.get_mut(&self.number) {
                    connection.identify.get_or_insert(identified.request);
                }
                self.upgrade = identified.upgrade;
                Ok(identified.answer)
            }
            Action::Auth(secret) => Ok(self.authorize(secret, state, options)?),
            Action::Publish {
                topic,
                defer,
                bodies,
            } => {
                // That of an MPUB was done before its body was read.
                match command.line.name() {
                    b"PUB" => self.check("PUB", topic, None, state, options)?,
                    b"DPUB" => self.check("DPUB", topic, None, state, options)?,
                    _ => {}
                }
                state.store(topic, bodies, *defer, self.number);
                Ok(b"OK".to_vec())
            }
            Action::Nop => Ok(Vec::new()),
            Action::Impossible(error) => Err(error.clone().into()),
            Action::Subscribe { topic, channel } => {
                self.check("SUB", topic, Some(channel), state, options)?;
                self.subscription = Some(state.subscribe(self.number, topic, channel, &self.wake));
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
                Ok(b"CLOSE_WAIT".to_vec())
            }
            Action::Finish(id) => self.answer_for("FIN", id, state, |channel, connection| {
                channel.finish(connection, id)
            }),
            Action::Requeue(id, delay) => {
                self.answer_for("REQ", id, state, |channel, connection| {
                    channel.requeue(connection, id, *delay)
                })
            }
            Action::Touch(id) => {
                let (timeout, longest) = (self.negotiated.msg_timeout, options.max_msg_timeout);
                self.answer_for("TOUCH", id, state, |channel, connection| {
                    channel.touch(connection, id, timeout, longest)
                })
            }
        }
    }

    /// The frames of messages that it is ready for, and whether it is ready for more that are there.
    pub(in crate::embedded) fn take_messages(&self, state: &mut State) -> (Vec<u8>, bool) {
        let mut frames = Vec::new();
        let more = self.subscription.as_ref().is_some_and(|subscription| {
            state.take(self.number, subscription, self.terms, ROOM, &mut frames)
        });
        (frames, more)
    }

    pub(in crate::embedded) fn has_subscribed(&self) -> bool {
        self.subscription.is_some()
    }

    /// Whether the client is allowed this command, or nsqd's words.
    pub(super) fn check(
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
        self.show_identity(state);
        checked
    }

    fn authorize(
        &mut self,
        secret: &[u8],
        state: &mut State,
        options: &Options,
    ) -> Result<Vec<u8>, String> {
        let Some(connection) = state.connections.get(&self.number) else {
            // Impossible: it is there until it is closed.
            return Err("E_AUTH_FAILED AUTH failed".into());
        };
        let (tls, common_name) = (connection.tls.is_some(), self.common_name.clone());
        let whom = (connection.peer, tls, common_name);
        let granted = self
            .authorization
            .grant(options.auth.as_ref(), secret, whom);
        self.show_identity(state);
        granted
    }

    fn show_identity(&self, state: &mut State) {
        let granted = self.authorization.is_granted();
        let identity = self.authorization.identity().filter(|_| granted);
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

    /// FIN, REQ and TOUCH fail without harm to the connection.
    fn answer_for(
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
        state.look_ahead(due);
        let failed = |why: &str| {
            let code = format!("E_{name}_FAILED {name} ");
            [code.as_bytes(), id, b" failed ", why.as_bytes()].concat()
        };
        outcome.map(|()| Vec::new()).map_err(failed)
    }
}
