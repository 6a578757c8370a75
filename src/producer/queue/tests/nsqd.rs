//! A simulated nsqd: it parses the real bytes and executes whole commands only.

#[path = "../../../../tests/support/command.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the tests of other crates"
)]
mod command;

use super::model::Count;

pub(super) use self::command::{Command, Verb, read};

/// All commands in `bytes`, which must be whole.
pub(super) fn commands(bytes: &[u8]) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let command = read(bytes, at).expect("a whole line");
        at = command.end.expect("a whole command");
        commands.push(command);
    }
    commands
}

/// Commands as text: `PUB topic body`, with bodies without the dots at their end.
pub(super) fn transcript(bytes: &[u8]) -> Vec<String> {
    let show = |command: Command| {
        let mut words = vec![command.verb.name().to_owned()];
        words.extend(command.words);
        words.extend(command.bodies.into_iter().map(|body| {
            let body = std::str::from_utf8(&bytes[body]).unwrap();
            body.trim_end_matches('.').to_owned()
        }));
        words.join(" ")
    };
    commands(bytes).into_iter().map(show).collect()
}

/// The number that a body of the model begins with.
pub(super) fn number(body: &[u8]) -> usize {
    u32::from_be_bytes(body[..4].try_into().unwrap()) as usize
}

/// Marks a message that nsqd rejects without naming a limit.
pub(super) const UNWELCOME: u8 = b'!';

pub(super) struct Nsqd {
    pub(super) max_msg_size: usize,
    pub(super) max_body_size: usize,
    /// One of this many whole commands fails; 0 for none.
    pub(super) trouble: u32,
    /// Numbers of the messages stored, each with its place in its batch.
    pub(super) stored: Vec<(usize, usize)>,
}

/// nsqd's side of one connection.
#[derive(Default)]
pub(super) struct Peer {
    pub(super) arrived: Vec<u8>,
    /// How far it is executed.
    pub(super) at: usize,
    /// An error frame was sent: nothing more is executed.
    pub(super) dead: bool,
}

/// A frame that nsqd sends: `OK`, or an error.
pub(super) type Answer = Result<(), String>;

impl Nsqd {
    /// Executes the next command as far as it can be read.
    pub(super) fn execute(
        &mut self,
        peer: &mut Peer,
        rng: &mut fastrand::Rng,
        count: &mut Count,
    ) -> Option<Answer> {
        if peer.dead {
            return None;
        }
        let command = read(&peer.arrived, peer.at)?;
        let answer = self.answer(&command, &peer.arrived, rng, count)?;
        match answer {
            Ok(()) => peer.at = command.end.unwrap(),
            Err(_) => peer.dead = true,
        }
        Some(answer)
    }

    /// Gives up a command whose line has arrived and whose body takes too long.
    pub(super) fn lose_patience(&self, peer: &mut Peer) -> Option<Answer> {
        let command = read(&peer.arrived, peer.at)?;
        if peer.dead || command.end.is_some() {
            return None;
        }
        peer.dead = true;
        let text = match command.verb {
            Verb::Identify => "E_INVALID IDENTIFY failed to read body",
            Verb::Mpub => "E_BAD_BODY MPUB failed to read message body size",
            _ => "E_BAD_MESSAGE PUB failed to read message body",
        };
        Some(Err(text.into()))
    }

    /// Checks in the order of nsqd: topic, permission to MPUB, sizes as they arrive, permission to
    /// PUB, disk.
    fn answer(
        &mut self,
        command: &Command,
        bytes: &[u8],
        rng: &mut fastrand::Rng,
        count: &mut Count,
    ) -> Option<Answer> {
        let (name, batch) = (command.verb.name(), command.verb == Verb::Mpub);
        let bodies = command.bodies.iter().map(|body| &bytes[body.clone()]);
        let bodies: Vec<&[u8]> = bodies.collect();
        let fails = self.trouble > 0 && rng.u32(0..self.trouble) == 0;
        if command.topic == "bad" {
            return Some(Err(format!("E_BAD_TOPIC {name} topic name is not valid")));
        }
        let denied = command.topic == "locked";
        if batch && denied {
            return Some(Err(format!("E_UNAUTHORIZED {name} failed")));
        }
        let size = command.size?;
        if command.verb == Verb::Identify {
            command.end?;
            let error = "E_INVALID cannot IDENTIFY in current state";
            return Some(if fails { Err(error.into()) } else { Ok(()) });
        }
        let limit = self.max_body_size;
        if batch && size > limit {
            return Some(Err(format!(
                "E_BAD_BODY MPUB body too big {size} > {limit}"
            )));
        }
        let limit = self.max_msg_size;
        if let Some(length) = command.lengths.iter().find(|length| **length > limit) {
            let text = format!("E_BAD_MESSAGE {name} message too big {length} > {limit}");
            return Some(Err(text));
        }
        if bodies.iter().any(|body| body.get(4) == Some(&UNWELCOME)) {
            return Some(Err(format!("E_BAD_MESSAGE {name} invalid message")));
        }
        command.end?;
        if denied {
            return Some(Err(format!("E_UNAUTHORIZED {name} failed")));
        }
        if !fails {
            self.store(&bodies);
            return Some(Ok(()));
        }
        // A part of a batch may be stored, and an unknown code may mean anything.
        let part = &bodies[..rng.usize(0..=bodies.len())];
        Some(Err(match rng.u32(0..4) {
            0 => {
                count.add("unknown code");
                self.store(part);
                "E_SHINY something new".into()
            }
            // Known codes that nsqd 1.3 does not use for this command, so nothing is stored.
            1 => ["E_INVALID no", "E_PUB_FAILED no", "E_DPUB_FAILED no"][rng.usize(0..3)].into(),
            _ => {
                count.add("E_PUB_FAILED or E_MPUB_FAILED");
                if batch {
                    self.store(part);
                }
                format!("E_{name}_FAILED {name} failed")
            }
        }))
    }

    /// Each body is a publish, or one of several of the same batch.
    fn store(&mut self, bodies: &[&[u8]]) {
        for (at, body) in bodies.iter().enumerate() {
            let id = number(body);
            let before = bodies[..at].iter().filter(|body| number(body) == id);
            self.stored.push((id, before.count()));
        }
    }
}
