//! The steps of a schedule.

use std::io;

use actix_nsq::Reconnect;
use tokio::time::Instant;

use super::{
    line::Line,
    network::Last,
    nsqd::{Oddity, Stage, What},
    path::At,
    setup::Order,
    world::{Mood, Reach, TOPICS, World, ms},
};

impl World {
    pub(crate) async fn step(&mut self) {
        match self.rng.u32(0..1590) {
            0..300 => self.publish_some(),
            300..330 => self.ask(),
            330..390 | 1550.. => self.cancel(),
            390..540 => {
                let time = match self.rng.u32(0..10) {
                    0..3 => self.rng.u64(1..5),
                    3..6 => self.rng.u64(5..100),
                    6..8 => self.rng.u64(100..600),
                    8 => self.rng.u64(600..3000),
                    _ => self.rng.u64(3000..12_000),
                };
                self.run(ms(time)).await;
            }
            540..620 => self.settle_down().await,
            620..740 => self.by_hand(),
            740..790 => self.change_mood(),
            790..810 => {
                self.reach = match self.rng.u32(0..8) {
                    0 if self.hard_times => Reach::Refused,
                    1 if self.hard_times => Reach::Hanging,
                    2 | 3 if self.hard_times => Reach::Chancy,
                    _ => Reach::Good,
                };
                self.note(|| format!("{:?}", self.reach));
            }
            810..845 | 1040..1070 => self.cut(),
            845..900 | 1070..1140 | 1180..1220 | 1430..1490 => self.say_something_odd(),
            1140..1180 | 1220..1240 | 1490..1550 => self.stop_reading().await,
            900..930 => self.lose_patience(),
            930..948 => {
                self.note(|| "reconnect".into());
                self.address().do_send(Reconnect);
                self.reconnect = Some(Instant::now());
                self.count.add("reconnect");
            }
            948..968 => self.a_ghost_works(),
            968..998 => self.change_room(),
            998..1033 => self.look().await,
            1240..1430 => self.batches_meet_trouble().await,
            _ => self.drain().await,
        }
        self.network
            .lock()
            .wires
            .iter_mut()
            .for_each(super::network::Wire::wake);
    }

    /// nsqd reads, executes and sends a part.
    fn by_hand(&mut self) {
        let Some(place) = self.current().filter(|_| self.mood == Mood::ByHand) else {
            return;
        };
        let network = self.network.clone();
        let most = network.lock();
        let (taken, arrived) = (most.wires[place].taken.len(), most.wires[place].arrived);
        let open = most.wires[place].last.is_none();
        drop(most);
        if open {
            let more = self.some_of(taken - arrived);
            network.lock().wires[place].arrived += more;
            for _ in 0..self.rng.u32(0..6) {
                self.execute(place);
            }
        }
        let (said, audible) = {
            let network = network.lock();
            (
                network.wires[place].said.len(),
                network.wires[place].audible,
            )
        };
        let more = self.some_of(said - audible);
        network.lock().wires[place].audible += more;
    }

    /// All, nothing, or any part.
    fn some_of(&mut self, all: usize) -> usize {
        match self.rng.u32(0..2) {
            0 => all,
            _ => self.rng.usize(0..=all),
        }
    }

    /// nsqd stops reading for longer than `write_timeout`.
    async fn stop_reading(&mut self) {
        if !self.hard_times || self.current().is_none() {
            return;
        }
        if self.rng.bool()
            && let Some(interval) = self.setup.heartbeat
        {
            // Or stops sending, which takes longer to detect.
            self.mood = Mood::Silent;
            return self.run(interval * 2 + ms(5)).await;
        }
        self.mood = Mood::Deaf;
        self.leave_little_room();
        // More than the capacity, whatever the window.
        (0..self.rng.u32(2..6)).for_each(|_| self.publish());
        self.run(self.setup.write_timeout + ms(5)).await;
    }

    /// Several batches fail in turn, while the producer reconnects quickly.
    async fn batches_meet_trouble(&mut self) {
        if !self.hard_times || self.setup.order == Order::All {
            return;
        }
        for _ in 0..self.rng.u32(1..6) {
            self.mood = Mood::Prompt;
            // After an error response it reconnects after 20 ms.
            self.run(ms(22)).await;
            let topic = self.rng.usize(2..TOPICS.len());
            // An `OK` ends earlier trouble.
            self.publish_together(topic, &[40]);
            self.settle_down().await;
            let Some(place) = self.current().filter(|_| self.path.at == At::Up) else {
                return;
            };
            self.a_batch_meets_trouble(place, topic).await;
        }
    }

    /// Publishes a batch that nsqd or the network fails.
    async fn a_batch_meets_trouble(&mut self, place: usize, topic: usize) {
        let sizes = [40; 5];
        match self.rng.u32(0..11) {
            which @ (0 | 1) => self.publish_together(which as usize, &sizes),
            2 | 9 | 10 => {
                self.nsqd.max_msg_size = 1000;
                self.publish_together(topic, &[40, 1001, 40, 40]);
            }
            3 => {
                self.nsqd.max_body_size = self.rng.usize(100..230);
                self.publish_together(topic, &sizes);
            }
            which @ 4..7 => {
                self.nsqd.grudge = Some(which - 4);
                self.publish_together(topic, &sizes);
            }
            which => {
                // Half of it is taken, and no more.
                self.mood = Mood::ByHand;
                let room = self.rng.usize(60..110);
                self.leave_room(room);
                self.publish_together(topic, &sizes);
                self.settle_down().await;
                if which == 8 {
                    return self.cut();
                }
                let network = self.network.clone();
                if let Some(wire) = network.lock().wires.get_mut(place) {
                    wire.arrived = wire.taken.len();
                }
                self.lose_patience();
                self.mood = Mood::Prompt;
            }
        }
        self.settle_down().await;
    }

    fn leave_little_room(&mut self) {
        let room = self.rng.usize(0..40);
        self.leave_room(room);
    }

    fn leave_room(&mut self, room: usize) {
        let Some(place) = self.current() else {
            return;
        };
        let wire = &mut self.network.lock().wires[place];
        wire.room = wire.taken.len() - wire.arrived + room;
    }

    fn change_mood(&mut self) {
        self.mood = match self.rng.u32(0..12) {
            0 if self.hard_times => Mood::Busy,
            1 | 11 if self.hard_times => Mood::Silent,
            2 if self.hard_times => Mood::Deaf,
            3 if self.hard_times => Mood::Deaf,
            4..8 => Mood::ByHand,
            _ => Mood::Prompt,
        };
        if self.mood == Mood::Deaf {
            self.leave_little_room();
        }
        self.note(|| format!("{:?}", self.mood));
    }

    /// The connection ends at any byte in either direction, in any way.
    fn cut(&mut self) {
        let Some(place) = self.current().filter(|_| self.hard_times) else {
            return;
        };
        let network = self.network.clone();
        let mut network = network.lock();
        let wire = &mut network.wires[place];
        if wire.last.is_some() {
            return;
        }
        // Mostly without an error response.
        let how = self.rng.u32(0..8) % 6;
        self.note(|| format!("line {place} is cut: {how}"));
        // Bytes on their way may be lost.
        let left = match how {
            0 | 1 => wire.said.len(),
            2 | 3 => self.rng.usize(wire.audible..=wire.said.len()),
            // Even those that have arrived.
            4 => wire.heard,
            _ => {
                wire.broken = Some(io::ErrorKind::BrokenPipe);
                return self.count.add("writes break");
            }
        };
        wire.said.truncate(left);
        wire.audible = left;
        let line: &mut Line = &mut self.lines[place];
        line.peer.frames.retain(|frame| frame.end <= left);
        let refused = line
            .peer
            .frames
            .iter()
            .any(|frame| matches!(frame.what, What::Error(..)));
        line.refusal = line.refusal.take().filter(|_| refused);
        if line.peer.frames.is_empty() {
            // During the handshake.
            self.path.dial = "fine";
        }
        let reset = how > 2;
        wire.last = Some(if reset { Last::Reset } else { Last::Fin });
        if how == 4 || self.rng.bool() {
            wire.broken = Some(io::ErrorKind::ConnectionReset);
        }
        self.count.add("cut");
    }

    /// Sends something that no nsqd sends to a publisher.
    fn say_something_odd(&mut self) {
        let Some(place) = self.current().filter(|_| self.hard_times) else {
            return;
        };
        let network = self.network.clone();
        let mut network = network.lock();
        let wire = &mut network.wires[place];
        let line = &mut self.lines[place];
        if !line.is_live(wire) {
            return;
        }
        let all_answered = line
            .commands
            .iter()
            .all(|command| command.confirmed.is_some() || command.verb.name() == "NOP")
            && line.peer.frames.iter().all(|frame| frame.heard.is_some());
        let peer = &mut line.peer;
        let out_of_step = What::Odd(Oddity::OutOfStep);
        let garbage = What::Odd(Oddity::Garbage);
        let which = self.rng.u32(0..11);
        match which {
            0 | 1 if all_answered => {
                // A stray `OK` must not meet a command.
                wire.sealed = true;
                peer.say(wire, 0, b"OK", out_of_step);
                wire.audible = wire.said.len();
            }
            2 => peer.say(wire, 0, b"hello", out_of_step),
            3 => peer.say(wire, 1, b"E_FIN_FAILED FIN 0123 failed", out_of_step),
            4 => peer.say(wire, 2, &[b'0'; 30], out_of_step),
            5 | 6 => peer.say(wire, 7, b"", garbage),
            7 => peer.say_bytes(wire, &[0, 0, 0, 3, 0, 0, 0], 4, garbage),
            _ => peer.say_bytes(wire, b"HTTP/1.1 500\r\n\r\n", 4, What::Odd(Oddity::Http)),
        }
        self.note(|| format!("line {place}: something odd, {which}"));
        self.count.add("something odd");
    }

    fn lose_patience(&mut self) {
        let Some(place) = self.current() else {
            return;
        };
        let network = self.network.clone();
        let mut network = network.lock();
        let wire = &mut network.wires[place];
        let line = &mut self.lines[place];
        if wire.last.is_some() || !line.peer.lose_patience(wire) {
            return;
        }
        self.note(|| format!("line {place}: nsqd gave up waiting"));
        self.count.add("a slow upload");
        self.lines[place].refused_half(wire);
    }

    fn change_room(&mut self) {
        let (room, gulp) = match self.rng.u32(0..3) {
            0 => (self.rng.usize(0..300), self.rng.usize(1..60)),
            1 => (64 << 10, self.rng.usize(1..400)),
            _ => (64 << 10, 64 << 10),
        };
        let Some(place) = self.current() else {
            return;
        };
        let wire = &mut self.network.lock().wires[place];
        (wire.room, wire.gulp) = (room, gulp);
        self.note(|| format!("room for {room}, {gulp} at once"));
    }

    fn a_ghost_works(&mut self) {
        if !self.lines.is_empty() {
            let place = self.rng.usize(0..self.lines.len());
            let most = self.rng.usize(1..4);
            self.ghost_works(place, most);
        }
    }

    /// Bytes of an ended connection may still arrive at nsqd and be executed.
    pub(crate) fn ghost_works(&mut self, place: usize, most: usize) {
        let network = self.network.clone();
        let mut locked = network.lock();
        let wire = &mut locked.wires[place];
        if !wire.gone && wire.last.is_none() {
            return;
        }
        wire.last.get_or_insert(Last::Reset);
        let left = wire.taken.len() - wire.arrived;
        wire.arrived += if self.rng.u32(0..3) > 0 {
            left
        } else {
            self.rng.usize(0..=left)
        };
        drop(locked);
        for _ in 0..most {
            if self.lines[place].peer.stage != Stage::Open || !self.execute(place) {
                return;
            }
            self.count.add("executed after the end");
        }
    }
}
