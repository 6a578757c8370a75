//! A simulated nsqd: it parses the real bytes with its own small parser, and executes whole commands only.

use super::model::Count;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Pub,
    Mpub,
    Dpub,
    /// A ping.
    Identify,
}

/// A whole command as nsqd reads it.
#[derive(Debug)]
pub(super) struct Command<'a> {
    pub(super) verb: Verb,
    pub(super) topic: &'a str,
    pub(super) delay: &'a str,
    pub(super) bodies: Vec<&'a [u8]>,
}

/// How far a command could be read.
struct Read<'a> {
    /// The command with the bodies that are there.
    command: Command<'a>,
    /// The length that follows the line.
    size: Option<usize>,
    /// The lengths of messages that are there, and one more whose body may not be.
    lengths: Vec<usize>,
    /// How many bytes the command takes, if they are all there.
    whole: Option<usize>,
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn number(&mut self) -> Option<usize> {
        let bytes = self.body(4)?;
        Some(u32::from_be_bytes(bytes.try_into().unwrap()) as usize)
    }

    fn body(&mut self, length: usize) -> Option<&'a [u8]> {
        let body = self.bytes.get(self.at..self.at + length)?;
        self.at += length;
        Some(body)
    }
}

/// Reads one command, or as much of it as is there: nothing before its line is whole.
fn read(bytes: &[u8]) -> Option<Read<'_>> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut words = line.split(' ');
    let verb = match words.next() {
        Some("PUB") => Verb::Pub,
        Some("MPUB") => Verb::Mpub,
        Some("DPUB") => Verb::Dpub,
        Some("IDENTIFY") => Verb::Identify,
        _ => panic!("no command: {line:?}"),
    };
    let topic = match verb {
        Verb::Identify => "",
        _ => words.next().unwrap(),
    };
    let delay = match verb {
        Verb::Dpub => words.next().unwrap(),
        _ => "",
    };
    assert_eq!(words.next(), None, "{line:?}");
    let mut cursor = Cursor { bytes, at: end + 1 };
    let mut read = Read {
        command: Command {
            verb,
            topic,
            delay,
            bodies: Vec::new(),
        },
        size: None,
        lengths: Vec::new(),
        whole: None,
    };
    read.whole = fill(&mut read, &mut cursor);
    Some(read)
}

fn fill<'a>(read: &mut Read<'a>, cursor: &mut Cursor<'a>) -> Option<usize> {
    let size = cursor.number()?;
    read.size = Some(size);
    if read.command.verb != Verb::Mpub {
        read.lengths.push(size);
        read.command.bodies.push(cursor.body(size)?);
        return Some(cursor.at);
    }
    let start = cursor.at;
    for _ in 0..cursor.number()? {
        let length = cursor.number()?;
        read.lengths.push(length);
        read.command.bodies.push(cursor.body(length)?);
    }
    assert_eq!(cursor.at - start, size, "MPUB's length is wrong");
    Some(cursor.at)
}

/// All commands in `bytes`, which must be whole.
pub(super) fn commands(mut bytes: &[u8]) -> Vec<Command<'_>> {
    let mut commands = Vec::new();
    while !bytes.is_empty() {
        let read = read(bytes).expect("a whole line");
        bytes = &bytes[read.whole.expect("a whole command")..];
        commands.push(read.command);
    }
    commands
}

/// Commands for people: `PUB topic body`, bodies without the dots at their end.
pub(super) fn transcript(bytes: &[u8]) -> Vec<String> {
    let show = |command: Command<'_>| {
        let verb = format!("{:?}", command.verb).to_uppercase();
        let mut words = vec![verb];
        if command.verb != Verb::Identify {
            words.push(command.topic.to_owned());
        }
        if command.verb == Verb::Dpub {
            words.push(command.delay.to_owned());
        }
        words.extend(command.bodies.iter().map(|body| {
            let body = std::str::from_utf8(body).unwrap();
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

/// A message that nsqd refuses, and does not say why.
pub(super) const UNWELCOME: u8 = b'!';

/// What nsqd is like now.
pub(super) struct Nsqd {
    pub(super) max_msg_size: usize,
    pub(super) max_body_size: usize,
    /// Of so many whole commands, one meets trouble; 0 for none.
    pub(super) trouble: u32,
    /// Numbers of the messages stored, each with its place in its batch.
    pub(super) stored: Vec<(usize, usize)>,
}

/// nsqd's side of one connection.
#[derive(Default)]
pub(super) struct Peer {
    /// What has arrived, and how far it is executed.
    pub(super) arrived: Vec<u8>,
    pub(super) at: usize,
    /// An error frame was sent: nothing more is executed.
    pub(super) dead: bool,
}

/// A frame that nsqd sends, for the command that starts at `start`.
pub(super) struct Answer {
    pub(super) start: usize,
    pub(super) error: Option<String>,
}

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
        let read = read(&peer.arrived[peer.at..])?;
        let start = peer.at;
        let verdict = self.judge(&read, rng, count)?;
        let error = verdict.err();
        match &error {
            Some(_) => peer.dead = true,
            None => peer.at += read.whole.unwrap(),
        }
        Some(Answer { start, error })
    }

    /// Two heartbeat intervals pass in the midst of a command: nsqd gives up, if it has read a line and not its body.
    pub(super) fn lose_patience(&self, peer: &mut Peer) -> Option<Answer> {
        let read = read(&peer.arrived[peer.at..])?;
        if peer.dead || read.whole.is_some() {
            return None;
        }
        let text = match read.command.verb {
            Verb::Identify => "E_INVALID IDENTIFY failed to read body",
            Verb::Mpub => "E_BAD_BODY MPUB failed to read message body size",
            _ => "E_BAD_MESSAGE PUB failed to read message body",
        };
        peer.dead = true;
        Some(Answer {
            start: peer.at,
            error: Some(text.into()),
        })
    }

    /// In the order in which nsqd looks: the topic, permission to MPUB, sizes as they are read, permission to PUB, the disk.
    fn judge(
        &mut self,
        read: &Read<'_>,
        rng: &mut fastrand::Rng,
        count: &mut Count,
    ) -> Option<Result<(), String>> {
        let Command {
            verb,
            topic,
            bodies,
            ..
        } = &read.command;
        let name = format!("{verb:?}").to_uppercase();
        let batch = *verb == Verb::Mpub;
        if *topic == "bad" {
            return Some(Err(format!("E_BAD_TOPIC {name} topic name is not valid")));
        }
        let forbidden = *topic == "locked";
        if batch && forbidden {
            return Some(Err(format!("E_UNAUTHORIZED {name} failed")));
        }
        let size = read.size?;
        if *verb == Verb::Identify {
            read.whole?;
            let troubled = self.trouble > 0 && rng.u32(0..self.trouble) == 0;
            return Some(if troubled {
                Err("E_INVALID cannot IDENTIFY in current state".into())
            } else {
                Ok(())
            });
        }
        let limit = self.max_body_size;
        if batch && size > limit {
            let text = format!("E_BAD_BODY MPUB body too big {size} > {limit}");
            return Some(Err(text));
        }
        let limit = self.max_msg_size;
        if let Some(length) = read.lengths.iter().find(|length| **length > limit) {
            let text = format!("E_BAD_MESSAGE {name} message too big {length} > {limit}");
            return Some(Err(text));
        }
        if bodies.iter().any(|body| body.get(4) == Some(&UNWELCOME)) {
            return Some(Err(format!("E_BAD_MESSAGE {name} invalid message")));
        }
        read.whole?;
        if forbidden {
            return Some(Err(format!("E_UNAUTHORIZED {name} failed")));
        }
        if self.trouble == 0 || rng.u32(0..self.trouble) > 0 {
            self.store(bodies);
            return Some(Ok(()));
        }
        // Trouble: a part of a batch may be stored; what an unknown code means is anybody's guess.
        let part = rng.usize(0..=bodies.len());
        Some(Err(match rng.u32(0..4) {
            0 => {
                count.add("unknown code");
                self.store(&bodies[..part]);
                "E_SHINY something new".into()
            }
            // A known code that nsqd 1.3 does not use for this command, and so stores nothing.
            1 => ["E_INVALID no", "E_PUB_FAILED no", "E_DPUB_FAILED no"][rng.usize(0..3)].into(),
            _ => {
                count.add("E_PUB_FAILED, E_MPUB_FAILED");
                if batch {
                    self.store(&bodies[..part]);
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
