//! A simulated nsqd: it executes whole commands in order, and closes after an error response.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::{
    command::{Command, Verb, read},
    network::{Last, Wire},
};

/// The state of nsqd.
#[derive(Debug)]
pub(crate) struct Nsqd {
    pub(crate) max_msg_size: usize,
    pub(crate) max_body_size: usize,
    /// One of this many whole commands fails; 0 for none.
    pub(crate) trouble: u32,
    /// The next batch fails in this way.
    pub(crate) grudge: Option<u32>,
    /// Whether it rejects topics.
    pub(crate) strict: bool,
}

/// A frame that nsqd sent.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Where it ends among the sent bytes.
    pub(crate) end: usize,
    pub(crate) what: What,
    /// When the client has read all of it.
    pub(crate) heard: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum What {
    Greeting,
    Heartbeat,
    /// The response to the command that begins there.
    Ok(usize),
    /// The command that begins there is rejected.
    Error(usize, String),
    /// Something that no nsqd sends to a publisher.
    Odd(Oddity),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oddity {
    /// A valid frame that is no response to a command.
    OutOfStep,
    /// No frame.
    Garbage,
    Http,
}

/// The outcome of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handshake {
    Fine,
    Legacy,
    HeartbeatFirst,
    Silence,
    Close,
    Reset,
    Refusal,
    NotJson,
    NoObject,
    OddFrame,
    Http,
    Absurd,
    Auth,
}

/// nsqd's side of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) handshake: Handshake,
    pub(crate) stage: Stage,
    /// How far it has executed what has arrived.
    pub(crate) at: usize,
    pub(crate) frames: Vec<Frame>,
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) next_heartbeat: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Magic,
    Identify,
    Open,
    /// It executes nothing more.
    Dead,
}

/// The outcome of execution.
pub(crate) enum Done {
    Greeted,
    /// The command, and how many of its messages are stored.
    Stored(Command, usize),
    Rejected(Command, usize),
    Idle,
}

impl Peer {
    pub(crate) fn new(handshake: Handshake, now: Instant) -> Self {
        Self {
            handshake,
            stage: Stage::Magic,
            at: 0,
            frames: Vec::new(),
            heartbeat: None,
            next_heartbeat: Some(now + Duration::from_secs(30)),
        }
    }

    pub(crate) fn say(&mut self, wire: &mut Wire, kind: u32, data: &[u8], what: What) {
        let size = u32::try_from(data.len() + 4).expect("a small frame");
        let mut frame = size.to_be_bytes().to_vec();
        frame.extend(kind.to_be_bytes());
        frame.extend(data);
        self.say_bytes(wire, &frame, frame.len(), what);
    }

    /// Sends bytes that are recognised after the first `seen` of them; nothing once the connection
    /// has ended.
    pub(crate) fn say_bytes(&mut self, wire: &mut Wire, bytes: &[u8], seen: usize, what: What) {
        if wire.last.is_some() || wire.gone {
            return;
        }
        let end = wire.said.len() + seen;
        wire.said.extend(bytes);
        self.frames.push(Frame {
            end,
            what,
            heard: None,
        });
    }

    fn refuse(&mut self, wire: &mut Wire, start: usize, text: &str) {
        let what = What::Error(start, text.to_owned());
        self.say(wire, 1, text.as_bytes(), what);
        self.stage = Stage::Dead;
    }

    fn ends(&mut self, wire: &mut Wire, last: Last) {
        wire.last.get_or_insert(last);
        self.stage = Stage::Dead;
    }

    pub(crate) fn heartbeat(&mut self, wire: &mut Wire, now: Instant) {
        self.say(wire, 0, b"_heartbeat_", What::Heartbeat);
        self.next_heartbeat = self.heartbeat.map(|interval| now + interval);
    }

    /// Rejects a command whose line has arrived and whose body takes too long.
    pub(crate) fn lose_patience(&mut self, wire: &mut Wire) -> bool {
        if self.stage != Stage::Open {
            return false;
        }
        let Some(command) = read(&wire.taken[..wire.arrived], self.at) else {
            return false;
        };
        if command.end.is_some() {
            return false;
        }
        let text = match command.verb {
            Verb::Identify => "E_INVALID IDENTIFY failed to read body".to_owned(),
            verb => format!("E_BAD_MESSAGE {} failed to read message body", verb.name()),
        };
        self.refuse(wire, command.start, &text);
        wire.last = Some(Last::Fin);
        true
    }

    fn greet(&mut self, wire: &mut Wire, identify: &Command, now: Instant) {
        let json: serde_json::Value =
            serde_json::from_slice(&wire.taken[identify.bodies[0].clone()]).expect("JSON");
        let interval = json["heartbeat_interval"].as_i64().expect("an interval");
        self.heartbeat = u64::try_from(interval).ok().map(Duration::from_millis);
        self.next_heartbeat = self.heartbeat.map(|interval| now + interval);
        const FINE: &[u8] = br#"{"max_rdy_count":2500,"version":"1.3.0","auth_required":false}"#;
        let (kind, answer): (u32, &[u8]) = match self.handshake {
            Handshake::Fine => (0, FINE),
            Handshake::Legacy => (0, b"OK"),
            Handshake::HeartbeatFirst => {
                self.say(wire, 0, b"_heartbeat_", What::Heartbeat);
                (0, FINE)
            }
            Handshake::Silence => return self.stage = Stage::Dead,
            Handshake::Close => return self.ends(wire, Last::Fin),
            Handshake::Reset => return self.ends(wire, Last::Reset),
            Handshake::Refusal => (1, b"E_BAD_BODY IDENTIFY heartbeat interval (1) is invalid"),
            Handshake::NotJson => (0, b"{\"version\":"),
            Handshake::NoObject => (0, b"[1]"),
            Handshake::OddFrame => (0, b"CLOSE_WAIT"),
            Handshake::Http => {
                self.say_bytes(
                    wire,
                    b"HTTP/1.1 400 Bad Request\r\n\r\n",
                    4,
                    What::Odd(Oddity::Http),
                );
                return self.ends(wire, Last::Fin);
            }
            Handshake::Absurd => {
                self.say_bytes(
                    wire,
                    &[0x7f, 0xff, 0xff, 0xff],
                    4,
                    What::Odd(Oddity::Garbage),
                );
                return self.stage = Stage::Dead;
            }
            Handshake::Auth => (0, br#"{"auth_required":true,"version":"1.3.0"}"#),
        };
        self.say(wire, kind, answer, What::Greeting);
        self.stage = match self.handshake {
            Handshake::Fine | Handshake::Legacy | Handshake::HeartbeatFirst => Stage::Open,
            _ => Stage::Dead,
        };
    }
}

impl Nsqd {
    /// Executes the next command as far as it has arrived.
    pub(crate) fn execute(
        &mut self,
        peer: &mut Peer,
        wire: &mut Wire,
        now: Instant,
        rng: &mut Rng,
    ) -> Done {
        let arrived = &wire.taken[..wire.arrived];
        match peer.stage {
            Stage::Dead => return Done::Idle,
            Stage::Magic => {
                if arrived.len() < 4 {
                    return Done::Idle;
                }
                assert_eq!(&arrived[..4], b"  V2");
                (peer.at, peer.stage) = (4, Stage::Identify);
                return Done::Greeted;
            }
            Stage::Identify => {
                let identify = read(arrived, peer.at).filter(|command| command.end.is_some());
                let Some(identify) = identify else {
                    return Done::Idle;
                };
                assert_eq!(identify.verb, Verb::Identify);
                peer.at = identify.end.expect("a whole command");
                peer.greet(wire, &identify, now);
                return Done::Greeted;
            }
            Stage::Open => {}
        }
        let Some(command) = read(arrived, peer.at) else {
            return Done::Idle;
        };
        if command.verb == Verb::Nop {
            peer.at = command.end.expect("a line");
            return Done::Stored(command, 0);
        }
        let Some((stored, response)) = self.respond(&command, rng) else {
            return Done::Idle;
        };
        match response {
            Ok(()) => {
                peer.at = command.end.expect("a whole command");
                peer.say(wire, 0, b"OK", What::Ok(command.start));
                Done::Stored(command, stored)
            }
            Err(text) => {
                peer.refuse(wire, command.start, &text);
                Done::Rejected(command, stored)
            }
        }
    }

    /// Checks in the order of nsqd: topic, permission to MPUB, sizes as they arrive, permission to
    /// PUB, disk.
    /// Returns the number of messages stored, and the response.
    fn respond(&mut self, command: &Command, rng: &mut Rng) -> Option<(usize, Result<(), String>)> {
        let Command { verb, topic, .. } = command;
        let (name, batch) = (verb.name(), *verb == Verb::Mpub);
        let refused = |text: String| Some((0, Err(text)));
        if self.strict && topic == "bad" {
            return refused(format!(
                "E_BAD_TOPIC {name} topic name \"bad\" is not valid"
            ));
        }
        let forbidden = self.strict && topic == "locked";
        if batch && forbidden {
            return refused(format!(
                "E_UNAUTHORIZED AUTH failed for {name} on \"locked\""
            ));
        }
        let size = command.size?;
        let trouble = self.trouble;
        let troubled = |rng: &mut Rng| trouble > 0 && rng.u32(0..trouble) == 0;
        if *verb == Verb::Identify {
            command.end?;
            return match troubled(rng) {
                true => refused("E_INVALID cannot IDENTIFY in current state".into()),
                false => Some((0, Ok(()))),
            };
        }
        let limit = self.max_body_size;
        if batch && size > limit {
            return refused(format!("E_BAD_BODY MPUB body too big {size} > {limit}"));
        }
        let limit = self.max_msg_size;
        if let Some(length) = command.lengths.iter().find(|length| **length > limit) {
            return refused(format!(
                "E_BAD_MESSAGE {name} message too big {length} > {limit}"
            ));
        }
        command.end?;
        if forbidden {
            return refused(format!(
                "E_UNAUTHORIZED AUTH failed for {name} on \"locked\""
            ));
        }
        let all = command.bodies.len();
        let grudge = self.grudge.take_if(|_| batch);
        if grudge.is_none() && !troubled(rng) {
            return Some((all, Ok(())));
        }
        // A part of a batch may be stored, and an unknown code may mean anything.
        let part = rng.usize(0..=all);
        Some(match grudge.unwrap_or_else(|| rng.u32(0..3)) {
            0 => (part, Err("E_SHINY something new".into())),
            1 => (0, Err("E_AUTH_FAILED AUTH failed".into())),
            _ if batch => (part, Err("E_MPUB_FAILED MPUB failed no space left".into())),
            _ => (0, Err(format!("E_{name}_FAILED {name} failed exiting"))),
        })
    }
}
