//! The broker's side of a session: what it hears, what it means of what it says, and so what it has stored.

use std::collections::HashMap;

use super::{
    record::read,
    session::LARGEST,
    spoken::{Command, heartbeat_frame, ok_frame},
    world::Peer,
};

/// Topic and body.
pub(super) type Message = (String, Vec<u8>);

/// A message that the broker has stored, and whether it said OK to it.
pub(super) type Stored = (Message, bool);

/// One connection, as a broker sees it that hears all and means only some of what it says.
pub(super) struct Wire {
    pub(super) peer: Peer,
    /// After the handshake.
    pub(super) said: Vec<u8>,
    /// Those that want an answer.
    pub(super) commands: Vec<Vec<Message>>,
    /// No command carries more messages.
    most: usize,
    /// The latest message of each topic.
    latest: HashMap<String, usize>,
}

impl Wire {
    pub(super) async fn greet(mut peer: Peer, most: usize) -> Option<Self> {
        if !peer.magic().await || peer.command().await.is_none() {
            return None;
        }
        peer.say(&ok_frame()).await.then_some(Self {
            peer,
            said: Vec::new(),
            commands: Vec::new(),
            most,
            latest: HashMap::new(),
        })
    }

    pub(super) async fn hear(&mut self) {
        while let Some(command) = self.peer.command().await {
            self.note(command);
        }
    }

    fn note(&mut self, command: Command) {
        let messages = match command {
            Command::Nop => return,
            Command::Identify(_) => Vec::new(),
            Command::Pub { topic, body } | Command::Dpub { topic, body, .. } => {
                vec![(topic, body)]
            }
            Command::Mpub { topic, bodies } => {
                let bodies = bodies.into_iter();
                bodies.map(|body| (topic.clone(), body)).collect()
            }
            other => panic!("{other} from a producer"),
        };
        assert!(messages.len() <= self.most, "{} folded", messages.len());
        // On one connection each topic's come in their order, and none twice.
        for (topic, body) in &messages {
            let id = read(topic, body).expect("a whole message, of this topic");
            let before = self.latest.insert(topic.clone(), id.number);
            assert!(before < Some(id.number), "{id} came behind {before:?}");
        }
        self.commands.push(messages);
    }

    /// Closes at once. Of what it has not heard, it has stored only what it has said OK to all the same.
    pub(super) fn cut(mut self) -> Vec<Stored> {
        let heard = self.commands.len();
        while let Some(command) = self.peer.command_on_its_way() {
            self.note(command);
        }
        self.commands.truncate(heard.max(oks(&self.said)));
        self.stored()
    }

    /// A broker stores what it says OK to, and executes nothing behind an error. What it hears and does not answer, it
    /// may have stored: that it did is the harder case.
    pub(super) fn stored(self) -> Vec<Stored> {
        let oks = oks(&self.said);
        let executed = if refuses(&self.said) { oks } else { usize::MAX };
        let commands = self.commands.into_iter().take(executed).enumerate();
        commands
            .flat_map(|(at, messages)| messages.into_iter().map(move |m| (m, at < oks)))
            .collect()
    }
}

/// How many `OK` frames stand before the first nonsense.
pub(super) fn oks(said: &[u8]) -> usize {
    sensible(said).0
}

/// Whether what comes behind them is an error.
fn refuses(said: &[u8]) -> bool {
    let (_, rest) = sensible(said);
    let size = rest
        .first_chunk()
        .map_or(0, |size| u32::from_be_bytes(*size) as usize);
    let whole = rest.len() >= size.saturating_add(4);
    (4..=LARGEST).contains(&size) && whole && rest[4..8] == [0, 0, 0, 1]
}

fn sensible(said: &[u8]) -> (usize, &[u8]) {
    let (mut oks, mut rest) = (0, said);
    loop {
        rest = if let Some(behind) = rest.strip_prefix(&ok_frame()[..]) {
            oks += 1;
            behind
        } else if let Some(behind) = rest.strip_prefix(&heartbeat_frame()[..]) {
            behind
        } else {
            return (oks, rest);
        };
    }
}
