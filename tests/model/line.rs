//! A connection as both ends see it: what the client's socket took, command by command, and what nsqd made of it.

use std::io;

use actix_nsq::bytes::Bytes;
use tokio::time::Instant;

use super::{
    command::{Command, Verb, read},
    network::{Last, Wire},
    nsqd::{Done, Handshake, Oddity, Peer, Stage, What},
    record,
    setup::Order,
    world::{Mood, Reach, World},
};

#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) peer: Peer,
    /// All commands that the client's socket has wholly taken.
    pub(crate) commands: Vec<Written>,
    /// The commands end there, behind the handshake.
    pub(crate) seen: usize,
    pub(crate) handshake_end: usize,
    /// When nsqd had answered the handshake well: from then on the client may hand over commands.
    pub(crate) opened: Option<Instant>,
    /// When the client closed it.
    pub(crate) gone: Option<Instant>,
    /// When a frame was last heard, and an answer.
    pub(crate) frame_heard: Option<Instant>,
    pub(crate) answer_heard: Option<Instant>,
    /// A heartbeat was heard and not answered.
    pub(crate) owes: bool,
    /// The command that nsqd refused, and the words.
    pub(crate) refusal: Option<Refusal>,
}

#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) start: usize,
    pub(crate) topic: String,
    pub(crate) text: String,
    pub(crate) heard: Option<Instant>,
    /// Another frame was heard behind it: so it was no nsqd's.
    pub(crate) more: bool,
}

/// A command that the client's socket has wholly taken.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) start: usize,
    pub(crate) verb: Verb,
    /// The publishes that it carries.
    pub(crate) publishes: Vec<usize>,
    pub(crate) bytes: usize,
    pub(crate) at: Instant,
    /// When its OK was heard, behind nothing but answers.
    pub(crate) confirmed: Option<Instant>,
}

impl Line {
    fn new(handshake: Handshake, now: Instant) -> Self {
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

    /// Whether nsqd may go on saying something.
    pub(crate) fn is_live(&self, wire: &Wire) -> bool {
        !wire.gone && wire.last.is_none() && self.peer.stage == Stage::Open
    }

    /// Whether the client has read the last frame that an nsqd ever sends, and no more.
    pub(crate) fn is_refused(&self) -> bool {
        self.refusal
            .as_ref()
            .is_some_and(|refusal| refusal.heard.is_some() && !refusal.more)
    }

    /// nsqd refuses half a command.
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
            more: false,
        });
    }

    /// Whether the client has heard the answer to its handshake.
    pub(crate) fn is_greeted(&self) -> bool {
        let mut frames = self.peer.frames.iter();
        frames.any(|frame| frame.what == What::Greeting && frame.heard.is_some())
    }

    /// Whether the client has heard what no nsqd says.
    pub(crate) fn odd(&self) -> Option<Oddity> {
        self.peer.frames.iter().find_map(|frame| match frame.what {
            What::Odd(oddity) if frame.heard.is_some() => Some(oddity),
            _ => None,
        })
    }

    /// Hears, up to where the client has read; gives the commands that were answered well.
    fn hear(&mut self, heard: usize, now: Instant) -> Vec<usize> {
        let mut confirmed = Vec::new();
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
                    }
                    astray = true;
                }
                What::Odd(_) => astray = true,
            }
        }
        confirmed
    }
}

impl World {
    pub(crate) fn next_heartbeat(&self) -> Option<Instant> {
        let network = self.network.lock();
        let lines = self.lines.iter().zip(&network.wires);
        let live = lines.filter(|(line, wire)| line.is_live(wire));
        live.filter_map(|(line, _)| line.peer.next_heartbeat).min()
    }

    /// The connection that the client holds and could use, if any: it never holds two.
    pub(crate) fn current(&self) -> Option<usize> {
        let network = self.network.lock();
        let place = network.wires.iter().rposition(|wire| !wire.gone)?;
        assert_eq!(network.open(), 1, "more than one connection");
        Some(place)
    }

    pub(crate) fn answer_dials(&mut self) {
        let network = self.network.clone();
        let mut network = network.lock();
        for place in self.dials_seen..network.dials.len() {
            if network.dials[place].gone {
                continue;
            }
            self.count.add("dialled");
            let reach = match self.reach {
                Reach::Chancy => {
                    [Reach::Good, Reach::Refused, Reach::Hanging][self.rng.usize(0..3)]
                }
                reach => reach,
            };
            self.path.dial = match reach {
                Reach::Refused => {
                    let kinds = [
                        io::ErrorKind::ConnectionRefused,
                        io::ErrorKind::HostUnreachable,
                    ];
                    network.dials[place].answer(Err(kinds[self.rng.usize(0..2)].into()));
                    "refused"
                }
                Reach::Hanging => "time-out",
                Reach::Good | Reach::Chancy => {
                    let handshake = self.draw_handshake();
                    let (room, gulp) = self.draw_room();
                    network.wires.push(Wire::new(room, gulp));
                    let wire = network.wires.len() - 1;
                    network.dials[place].answer(Ok(wire));
                    self.lines.push(Line::new(handshake, Instant::now()));
                    self.note(|| {
                        format!("line {wire}: {handshake:?}, room for {room}, {gulp} at once")
                    });
                    handshake.outcome()
                }
            };
        }
        self.dials_seen = network.dials.len();
    }

    fn draw_handshake(&mut self) -> Handshake {
        use Handshake::{
            Absurd, Auth, Close, Fine, HeartbeatFirst, Http, Legacy, NoObject, NotJson, OddFrame,
            Refusal, Reset, Silence,
        };
        if self.healed {
            return Fine;
        }
        let most = if self.hard_times && self.reach != Reach::Good {
            20
        } else {
            46
        };
        match self.rng.usize(0..most) {
            place @ 0..12 => [
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
            ][place],
            _ => Fine,
        }
    }

    /// How much is under way at most, and how much a write takes.
    fn draw_room(&mut self) -> (usize, usize) {
        match self.rng.u32(0..4) {
            0 => (self.rng.usize(600..2000), self.rng.usize(1..400)),
            1 => (64 << 10, self.rng.usize(1..400)),
            _ => (64 << 10, 64 << 10),
        }
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
            // A handshake comes to its end in every mood in which anything is read.
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
            // What ended is delivered to its end.
            if self.mood != Mood::ByHand || !opened || wire.last.is_some() {
                wire.audible = wire.said.len();
            }
            wire.wake();
        }
    }

    /// nsqd executes the next command of a line; false when there is none.
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
            Done::Refused(command, stored) => {
                let text = line
                    .peer
                    .frames
                    .iter()
                    .rev()
                    .find_map(|frame| match &frame.what {
                        What::Error(start, text) if *start == command.start => Some(text.clone()),
                        _ => None,
                    });
                // A connection that has ended says nothing.
                if let Some(text) = text {
                    line.refusal = Some(Refusal {
                        start: command.start,
                        topic: command.topic.clone(),
                        text,
                        heard: None,
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

    /// nsqd closes behind a refusal. Its words may be lost with what was sent behind the refused command.
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
                self.count.add("a refusal was lost");
            }
            1 => {
                // No nsqd says more behind a refusal.
                let what = What::Odd(Oddity::OutOfStep);
                self.lines[place].peer.say(wire, 0, b"OK", what);
                wire.last = Some(Last::Fin);
                self.count.add("more was said behind a refusal");
            }
            2 | 3 => wire.last = Some(Last::Reset),
            _ => wire.last = Some(Last::Fin),
        }
    }

    pub(crate) fn see_wires(&mut self) {
        (0..self.lines.len()).for_each(|place| self.transcribe(place));
    }

    /// Takes note of what the client has heard since the last look: what it writes then is written upon that.
    fn hear(&mut self, place: usize) {
        let now = Instant::now();
        let network = self.network.clone();
        let network = network.lock();
        let wire = &network.wires[place];
        let line = &mut self.lines[place];
        if wire.gone && line.gone.is_none() {
            line.gone = Some(now);
        }
        let confirmed = line.hear(wire.heard, now);
        let failed = wire.write_failed;
        drop(network);
        for start in confirmed {
            self.confirmed(place, start, now);
            if failed {
                self.count.add("OK heard after a write failed");
            }
        }
    }

    /// Takes note of the commands that the client's socket has wholly taken since the last look.
    fn transcribe(&mut self, place: usize) {
        self.hear(place);
        let network = self.network.clone();
        loop {
            let network = network.lock();
            let wire = &network.wires[place];
            let line = &mut self.lines[place];
            if wire.taken.len() <= line.seen {
                return;
            }
            let Some(command) = read(&wire.taken, line.seen) else {
                return;
            };
            let Some(end) = command.end else {
                return;
            };
            line.seen = end;
            if line.handshake_end == 0 {
                line.handshake_end = end;
                continue;
            }
            if command.verb == Verb::Nop {
                line.owes = false;
                line.commands.push(Written {
                    start: command.start,
                    verb: command.verb,
                    publishes: Vec::new(),
                    bytes: 0,
                    at: Instant::now(),
                    confirmed: None,
                });
                continue;
            }
            let bodies: Vec<Bytes> = command
                .bodies
                .iter()
                .map(|body| Bytes::copy_from_slice(&wire.taken[body.clone()]))
                .collect();
            drop(network);
            self.written(place, &command, &bodies);
        }
    }

    /// A command was wholly taken by the client's socket.
    fn written(&mut self, place: usize, command: &Command, bodies: &[Bytes]) {
        let Command { verb, topic, .. } = command;
        let mut publishes: Vec<usize> = Vec::new();
        if *verb != Verb::Identify {
            let mut ids = Vec::new();
            for body in bodies {
                let id = record::read(topic, body).expect("a whole message, of this topic");
                let owner = self.owners[id.publisher][id.number];
                if publishes.last() != Some(&owner) {
                    publishes.push(owner);
                }
                ids.push(id);
            }
            let own = publishes
                .iter()
                .flat_map(|owner| &self.publishes[*owner].ids);
            assert!(own.eq(&ids), "{publishes:?} are not written whole");
        }
        self.note(|| {
            format!(
                "line {place}: {} {topic} {publishes:?} is written",
                verb.name()
            )
        });
        let at = Instant::now();
        for publish in &publishes {
            self.publish_written(*publish, place, command);
        }
        assert!(self.setup.order == Order::All);
        self.lines[place].commands.push(Written {
            start: command.start,
            verb: *verb,
            bytes: bodies.iter().map(Bytes::len).sum(),
            publishes,
            at,
            confirmed: None,
        });
        self.check_window(place);
    }

    fn confirmed(&mut self, place: usize, start: usize, now: Instant) {
        let commands = &mut self.lines[place].commands;
        let command = commands.iter_mut().find(|command| command.start == start);
        let command = command.expect("an answer to what was written");
        command.confirmed = Some(now);
        for publish in command.publishes.clone() {
            self.count.add("OK");
            self.publishes[publish].confirmed.get_or_insert(now);
        }
    }

    /// What is sent and not answered is within the window; one publish may always be.
    fn check_window(&self, place: usize) {
        let flying = self.lines[place]
            .commands
            .iter()
            .filter(|command| !command.publishes.is_empty() && command.confirmed.is_none());
        let (mut count, mut bytes) = (0, 0);
        for command in flying {
            count += command.publishes.len();
            bytes += command.bytes;
        }
        let within = count <= self.setup.window && bytes <= self.setup.window_bytes;
        assert!(within || count == 1, "{count} publishes, {bytes} bytes fly");
    }
}

impl Handshake {
    /// How the client must see it.
    fn outcome(self) -> &'static str {
        match self {
            Self::Fine | Self::Legacy | Self::HeartbeatFirst => "fine",
            Self::Silence => "handshake time-out",
            Self::Close => "handshake closed",
            Self::Reset => "handshake reset",
            Self::Refusal => "handshake refused",
            Self::NotJson | Self::NoObject | Self::OddFrame => "handshake not understood",
            Self::Http => "http",
            Self::Absurd => "absurd frame",
            Self::Auth => "auth",
        }
    }
}
