//! What of nsqd's HTTP API creates, pauses, empties and deletes topics and channels.

use std::{collections::BTreeSet, sync::mpsc};

use super::{
    channel::Channel,
    http::{Request, Response},
    state::{Control, Shared, State},
    text::valid_name,
    topic::Topic,
};

/// A request that changes a topic or a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Operation {
    of_channel: bool,
    action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Create,
    Delete,
    Empty,
    Pause(bool),
}

/// The status and the code of an error.
type Failure = (u16, &'static str);

const NO_TOPIC: Failure = (404, "TOPIC_NOT_FOUND");
const NO_CHANNEL: Failure = (404, "CHANNEL_NOT_FOUND");

impl Operation {
    /// Returns the operation of a path.
    pub(super) fn of(path: &str) -> Option<Self> {
        let (of_channel, action) = match path.strip_prefix("/topic/") {
            Some(action) => (false, action),
            None => (true, path.strip_prefix("/channel/")?),
        };
        let action = match action {
            "create" => Action::Create,
            "delete" => Action::Delete,
            "empty" => Action::Empty,
            "pause" => Action::Pause(true),
            "unpause" => Action::Pause(false),
            _ => return None,
        };
        Some(Self { of_channel, action })
    }

    /// Executes it.
    pub(super) fn answer(self, request: &Request, shared: &Shared) -> Response {
        let done = if self.of_channel {
            self.change_channel(request, shared)
        } else {
            self.change_topic(request, shared)
        };
        match done {
            Ok(()) => Response::done(),
            Err((status, code)) => Response::failure(status, code),
        }
    }

    fn change_topic(self, request: &Request, shared: &Shared) -> Result<(), Failure> {
        let topic = request.given_parameter("topic");
        let topic = topic.ok_or((400, "MISSING_ARG_TOPIC"))?;
        let is_checked = matches!(self.action, Action::Create | Action::Empty);
        if is_checked && valid_name(topic.as_bytes()).is_none() {
            return Err((400, "INVALID_TOPIC"));
        }
        let exists = match self.action {
            Action::Create => {
                shared.change(|state| {
                    state.get_or_create_topic(topic);
                });
                true
            }
            Action::Delete => {
                let deleted = shared.change(|state| state.remove_topic(topic));
                let channels = deleted.iter().flat_map(|topic| topic.channels.values());
                close_consumers(&shared.state(), channels);
                deleted.is_some()
            }
            Action::Empty => shared.change_topic(topic, Topic::empty),
            Action::Pause(on) => shared.change_topic(topic, |topic| topic.pause(on)),
        };
        if exists { Ok(()) } else { Err(NO_TOPIC) }
    }

    fn change_channel(self, request: &Request, shared: &Shared) -> Result<(), Failure> {
        let name = |name, missing, invalid| match request.given_parameter(name) {
            None => Err((400, missing)),
            Some(given) => valid_name(given.as_bytes()).ok_or((400, invalid)),
        };
        let topic = name("topic", "MISSING_ARG_TOPIC", "INVALID_ARG_TOPIC")?;
        let channel = name("channel", "MISSING_ARG_CHANNEL", "INVALID_ARG_CHANNEL")?;
        if !shared.state().topics.contains_key(topic) {
            return Err(NO_TOPIC);
        }
        let exists = match self.action {
            Action::Create => {
                shared.change(|state| {
                    state.get_or_create_channel(topic, channel);
                });
                true
            }
            Action::Delete => {
                let deleted = shared.change(|state| state.remove_channel(topic, channel));
                close_consumers(&shared.state(), deleted.iter());
                deleted.is_some()
            }
            Action::Empty => shared.change_channel(topic, channel, Channel::empty),
            Action::Pause(on) => shared.change_channel(topic, channel, |channel| channel.pause(on)),
        };
        if exists { Ok(()) } else { Err(NO_CHANNEL) }
    }
}

/// Closes the connections of the consumers of deleted channels.
fn close_consumers<'a>(state: &State, channels: impl Iterator<Item = &'a Channel>) {
    let consumers: BTreeSet<u64> = channels
        .flat_map(|it| it.consumers.keys())
        .copied()
        .collect();
    // The end of the change is not waited for.
    let (done, _) = mpsc::channel();
    for number in consumers {
        let connection = state.connections.get(&number);
        if let Some(control) = connection.and_then(|it| it.control.as_ref()) {
            // Fails if the connection is being closed, which is fine.
            let _ = control.send(Control::Close(done.clone()));
        }
    }
}
