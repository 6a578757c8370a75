//! A connection as both ends see it: the commands that the client's socket took, and what nsqd did.

use std::io;

use actix_nsq::bytes::Bytes;
use tokio::time::Instant;

use super::{
    command::{Verb, read},
    network::{Last, Wire},
    nsqd::{Done, Handshake, Oddity, Peer, Stage, What},
    world::{Mood, World},
};

#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) peer: Peer,
    /// All commands that the client's socket has wholly taken.
    pub(crate) commands: Vec<Written>,
    /// Where the latest of them ends, and where the handshake ends.
    pub(crate) seen: usize,
    pub(crate) handshake_end: usize,
    /// When nsqd accepted the handshake: from then on the client may write commands.
    pub(crate) opened: Option<Instant>,
    /// When the client closed it.
    pub(crate) gone: Option<Instant>,
    /// When the client last read a frame, and a response.
    pub(crate) frame_heard: Option<Instant>,
    pub(crate) answer_heard: Option<Instant>,
    /// A heartbeat was read and not answered.
    pub(crate) owes: bool,
    /// The command that nsqd rejected, and the text.
    pub(crate) refusal: Option<Refusal>,
}

#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) start: usize,
    pub(crate) topic: String,
    pub(crate) text: String,
    pub(crate) heard: Option<Instant>,
    /// The command was an automatic batch.
    pub(crate) batched: bool,
    /// Another frame followed it, which no nsqd does.
    pub(crate) more: bool,
}

/// A command that the client's socket has wholly taken.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) start: usize,
    pub(crate) verb: Verb,
    /// The publishes that it carries.
    pub(crate) publishes: Vec<usize>,
    /// It is an automatic batch.
    pub(crate) batched: bool,
    pub(crate) bytes: usize,
    pub(crate) at: Instant,
    /// When its `OK` was read, with nothing invalid before it.
    pub(crate) confirmed: Option<Instant>,
}

impl Line {
    pub(crate) fn new(handshake: Handshake, now: Instant) -> Self {
        Self {
            peer: Peer::new(handshake, now),
            commands: Vec::new(),
            seen: 4,
            handshake_end: 0,
            opened: None,
            gone: None,
            frame_heard: None,
            answer_heard: None,
            owes: false,
            refusal: None,
        }
    }

    /// Whether nsqd may still send something.
    pub(crate) fn is_live(&self, wire: &Wire) -> bool {
        !wire.gone && wire.last.is_none() && self.peer.stage == Stage::Open
    }

    /// Whether the client has read an error response and nothing after it.
    pub(crate) fn is_refused(&self) -> bool {
        self.refusal
            .as_ref()
            .is_some_and(|refusal| refusal.heard.is_some() && !refusal.more)
    }

    /// nsqd rejects half a command.
    pub(crate) fn refused_half(&mut self, wire: &Wire) {
        let Some(What::Error(start, text)) = self.peer.frames.last().map(|frame| &frame.what)
        else {
            return;
        };
        let command = read(&wire.taken, *start).expect("a line");
        self.refusal = Some(Refusal {
            start: *start,
            topic: command.topic,
            text: text.clone(),
            heard: None,
            batched: false,
            more: false,
        });
    }

    /// Whether the client has read the response to its handshake.
    pub(crate) fn is_greeted(&self) -> bool {
        let mut frames = self.peer.frames.iter();
        frames.any(|frame| frame.what == What::Greeting && frame.heard.is_some())
    }

    /// Whether the client has read something that no nsqd sends.
    pub(crate) fn odd(&self) -> Option<Oddity> {
        self.peer.frames.iter().find_map(|frame| match frame.what {
            What::Odd(oddity) if frame.heard.is_some() => Some(oddity),
            _ => None,
        })
    }

    /// Processes the frames that the client has read. Returns the commands with an `OK`, and
    /// whether one is rejected now.
    pub(crate) fn hear(&mut self, heard: usize, now: Instant) -> (Vec<usize>, bool) {
        let (mut confirmed, mut refused) = (Vec::new(), false);
        let mut astray = false;
        for frame in &mut self.peer.frames {
            let fresh = frame.end <= heard && frame.heard.is_none();
            if fresh {
                frame.heard = Some(now);
                self.frame_heard = Some(now);
                if let Some(refusal) = &mut self.refusal {
                    refusal.more |= refusal.heard.is_some() && frame.what != What::Heartbeat;
                }
            }
            match &frame.what {
                What::Greeting => {}
                What::Heartbeat => self.owes |= fresh && self.opened.is_some(),
                What::Ok(start) if fresh && !astray => {
                    self.answer_heard = Some(now);
                    confirmed.push(*start);
                }
                What::Ok(_) => {}
                What::Error(..) => {
                    if let Some(refusal) = self.refusal.as_mut().filter(|_| fresh && !astray) {
                        refusal.heard = Some(now);
                        refused = true;
                    }
                    astray = true;
                }
                What::Odd(_) => astray = true,
            }
        }
        (confirmed, refused)
    }
}

impl Refusal {
    /// The error code.
    pub(crate) fn code(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }

    /// nsqd only stopped waiting for the rest.
    pub(crate) fn is_slow_upload(&self) -> bool {
        self.text.contains("failed to read")
    }

    /// The limit in the text.
    pub(crate) fn limit(&self) -> Option<usize> {
        let (_, limit) = self.text.split_once(" > ")?;
        Some(limit.parse().expect("a limit"))
    }
}

impl World {
    pub(crate) fn next_heartbeat(&self) -> Option<Instant> {
        let network = self.network.lock();
        let lines = self.lines.iter().zip(&network.wires);
        let live = lines.filter(|(line, wire)| line.is_live(wire));
        live.filter_map(|(line, _)| line.peer.next_heartbeat).min()
    }

    /// The connection that the client holds, if any: it never holds two.
    pub(crate) fn current(&self) -> Option<usize> {
        let network = self.network.lock();
        let place = network.wires.iter().rposition(|wire| !wire.gone)?;
        assert_eq!(network.open(), 1, "more than one connection");
        Some(place)
    }

    pub(crate) fn nsqd_works(&mut self) {
        let now = Instant::now();
        let network = self.network.clone();
        for place in 0..self.lines.len() {
            let mut network = network.lock();
            let wire = &mut network.wires[place];
            if wire.gone {
                let now = Some(now);
                self.lines[place].gone = self.lines[place].gone.or(now);
                continue;
            }
            let opened = self.lines[place].is_greeted();
            let due = self.lines[place]
                .peer
                .next_heartbeat
                .is_some_and(|due| due <= now);
            if due && self.lines[place].is_live(wire) {
                let peer = &mut self.lines[place].peer;
                match self.mood {
                    Mood::Silent => peer.next_heartbeat = peer.heartbeat.map(|after| now + after),
                    _ => {
                        peer.heartbeat(wire, now);
                        self.count.add("heartbeat");
                    }
                }
            }
            // A handshake completes in every mood in which nsqd reads.
            let (reads, works) = match self.mood {
                Mood::Prompt => (true, true),
                Mood::ByHand => (!opened, !opened),
                Mood::Busy => (true, !opened),
                Mood::Silent => (true, false),
                Mood::Deaf => (!opened, !opened),
            };
            if reads && wire.last.is_none() {
                wire.arrived = wire.taken.len();
            }
            drop(network);
            if works {
                while self.execute(place) {}
            }
            let mut network = self.network.lock();
            let wire = &mut network.wires[place];
            // A connection that ended is delivered completely.
            if self.mood != Mood::ByHand || !opened || wire.last.is_some() {
                wire.audible = wire.said.len();
            }
            wire.wake();
        }
    }

    /// Executes the next command of a line; false when there is none.
    pub(crate) fn execute(&mut self, place: usize) -> bool {
        let now = Instant::now();
        self.transcribe(place);
        let network = self.network.clone();
        let mut network = network.lock();
        let wire = &mut network.wires[place];
        let line = &mut self.lines[place];
        let done = self.nsqd.execute(&mut line.peer, wire, now, &mut self.rng);
        let (command, stored) = match done {
            Done::Idle => return false,
            Done::Greeted => {
                if line.peer.stage == Stage::Open {
                    line.opened = Some(now);
                }
                return true;
            }
            Done::Stored(command, stored) => (command, stored),
            Done::Rejected(command, stored) => {
                let text = line
                    .peer
                    .frames
                    .iter()
                    .rev()
                    .find_map(|frame| match &frame.what {
                        What::Error(start, text) if *start == command.start => Some(text.clone()),
                        _ => None,
                    });
                // A connection that has ended sends nothing.
                if let Some(text) = text {
                    line.refusal = Some(Refusal {
                        start: command.start,
                        topic: command.topic.clone(),
                        text,
                        heard: None,
                        batched: false,
                        more: false,
                    });
                    self.end_refused(wire, place);
                }
                (command, stored)
            }
        };
        let bodies: Vec<Bytes> = command.bodies[..stored]
            .iter()
            .map(|body| Bytes::copy_from_slice(&wire.taken[body.clone()]))
            .collect();
        drop(network);
        for body in bodies {
            self.stored(&command.topic, &body);
        }
        true
    }

    /// nsqd closes after an error response, which may be lost if more follows the rejected command.
    fn end_refused(&mut self, wire: &mut Wire, place: usize) {
        if self.rng.bool() {
            wire.broken = Some(io::ErrorKind::BrokenPipe);
        }
        match self.rng.u32(0..10) {
            0 => {
                wire.said.truncate(wire.audible);
                let heard = wire.said.len();
                self.lines[place]
                    .peer
                    .frames
                    .retain(|frame| frame.end <= heard);
                self.lines[place].refusal = None;
                wire.last = Some(Last::Reset);
                self.count.add("an error response was lost");
            }
            1 => {
                // No nsqd sends more after an error response.
                let what = What::Odd(Oddity::OutOfStep);
                self.lines[place].peer.say(wire, 0, b"OK", what);
                wire.last = Some(Last::Fin);
                self.count.add("more follows an error response");
            }
            2 | 3 => wire.last = Some(Last::Reset),
            _ => wire.last = Some(Last::Fin),
        }
    }
}
