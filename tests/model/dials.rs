//! Connects: what becomes of each attempt.

use std::io;

use tokio::time::Instant;

use super::{
    line::Line,
    network::Wire,
    nsqd::Handshake,
    world::{Reach, World},
};

impl World {
    pub(crate) fn answer_dials(&mut self) {
        let network = self.network.clone();
        let mut network = network.lock();
        for place in self.dials_seen..network.dials.len() {
            if network.dials[place].gone {
                continue;
            }
            self.count.add("connect");
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
                    "rejected"
                }
                Reach::Hanging => "timeout",
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

    /// The capacity of the connection, and the most bytes that one write takes.
    fn draw_room(&mut self) -> (usize, usize) {
        match self.rng.u32(0..4) {
            0 => (self.rng.usize(600..2000), self.rng.usize(1..400)),
            1 => (64 << 10, self.rng.usize(1..400)),
            _ => (64 << 10, 64 << 10),
        }
    }
}

impl Handshake {
    /// The outcome that the client must report.
    fn outcome(self) -> &'static str {
        match self {
            Self::Fine | Self::Legacy | Self::HeartbeatFirst => "fine",
            Self::Silence => "handshake timeout",
            Self::Close => "handshake closed",
            Self::Reset => "handshake reset",
            Self::Refusal => "handshake rejected",
            Self::NotJson | Self::NoObject | Self::OddFrame => "handshake invalid",
            Self::Http => "http",
            Self::Absurd => "absurd frame",
            Self::Auth => "auth",
        }
    }
}
