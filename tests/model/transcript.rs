//! What the client has heard, and what it has written: read from the wire, command by command.

use actix_nsq::{Delivery, ErrorKind};
use tokio::time::Instant;

use super::{
    command::{Command, Verb, read},
    line::{LEAST, Written},
    record,
    setup::Order,
    world::{TOPICS, World},
};

impl World {
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
        let (confirmed, refused) = line.hear(wire.heard, now);
        let failed = wire.write_failed;
        drop(network);
        for start in confirmed {
            self.confirmed(place, start, now);
            if failed {
                self.count.add("OK heard after a write failed");
            }
        }
        if refused {
            self.refusal_heard(place);
        }
    }

    /// Takes note of the commands that the client's socket has wholly taken since the last look.
    pub(crate) fn transcribe(&mut self, place: usize) {
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
                    folded: false,
                    at: Instant::now(),
                    confirmed: None,
                });
                continue;
            }
            let bodies = command.bodies.iter().map(|body| &wire.taken[body.clone()]);
            let bodies: Vec<Vec<u8>> = bodies.map(<[u8]>::to_vec).collect();
            drop(network);
            self.written(place, &command, &bodies);
        }
    }

    /// A command was wholly taken by the client's socket.
    fn written(&mut self, place: usize, command: &Command, bodies: &[Vec<u8>]) {
        let Command { verb, topic, .. } = command;
        let mut publishes: Vec<usize> = Vec::new();
        if *verb != Verb::Identify {
            publishes = self.owners(topic, bodies);
            let own = publishes
                .iter()
                .flat_map(|owner| &self.publishes[*owner].ids);
            let ids = bodies.iter().map(|body| record::read(topic, body));
            assert!(
                own.copied().map(Some).eq(ids),
                "{publishes:?} are not written whole"
            );
        }
        self.note(|| {
            format!(
                "line {place}: {} {topic} {publishes:?} is written",
                verb.name()
            )
        });
        let folded = self.is_folded(*verb, &publishes);
        match &publishes[..] {
            _ if folded => self.check_batch(place, command, &publishes),
            [single] => self.count_alone(*single),
            _ => {}
        }
        for publish in &publishes {
            self.publish_written(*publish, place, command, folded);
        }
        self.lines[place].commands.push(Written {
            start: command.start,
            verb: *verb,
            bytes: bodies.iter().map(Vec::len).sum(),
            publishes,
            folded,
            at: Instant::now(),
            confirmed: None,
        });
        self.check_window(place);
    }

    /// The client's socket has wholly taken a publish.
    pub(crate) fn publish_written(
        &mut self,
        number: usize,
        place: usize,
        command: &Command,
        folded: bool,
    ) {
        let publish = &self.publishes[number];
        assert!(
            !publish.never,
            "{number} was refused or cancelled before it can have been sent"
        );
        let verb = if folded { Verb::Mpub } else { publish.verb };
        assert_eq!((verb, publish.delay), (command.verb, command.delay));
        assert_eq!(TOPICS[publish.topic], command.topic);
        if let Some((at, told)) = &publish.told {
            // Handed over already, it keeps its place.
            let late = matches!(told, Err(error) if error.kind() == ErrorKind::Timeout && error.delivery() != Delivery::NotWritten);
            assert!(
                late && self.lines[place].opened.is_some_and(|opened| opened <= *at),
                "{number} is sent after it was told {told:?}"
            );
        }
        let again = !publish.written.is_empty();
        if again && self.unrefused(publish).next().is_some() {
            assert!(
                self.setup.retry_maybe_written,
                "{number} is sent again, and may be stored"
            );
            self.count.add("sent again, though perhaps stored");
        } else if again {
            self.count.add("sent again");
        }
        self.check_order(number, place);
        self.publishes[number].written.push((place, command.start));
    }

    /// It is written behind nothing that came later: of its topic where publishes are folded, of all where they are not.
    fn check_order(&mut self, number: usize, place: usize) {
        let publish = &self.publishes[number];
        let (topic, again) = (publish.topic, !publish.written.is_empty());
        let in_order = |other: &usize| match self.setup.order {
            Order::All => true,
            Order::PerTopic => self.publishes[*other].topic == topic,
        };
        let commands = self.lines[place].commands.iter().rev();
        let mut before = commands.flat_map(|written| written.publishes.iter().rev().copied());
        let last = before.find(in_order);
        assert!(
            last.is_none_or(|last| last < number),
            "{number} is written behind {last:?}"
        );
        if again {
            return;
        }
        let lane = match self.setup.order {
            Order::All => 0,
            Order::PerTopic => topic,
        };
        // Half of it may have been written before.
        let before = self.last_first[lane].filter(|last| {
            *last > number
                && self.publishes[*last]
                    .written
                    .iter()
                    .any(|(line, _)| *line == place)
        });
        assert_eq!(before, None, "{number} is written behind a younger one");
        self.last_first[lane] = self.last_first[lane].max(Some(number));
    }

    fn confirmed(&mut self, place: usize, start: usize, now: Instant) {
        let commands = &mut self.lines[place].commands;
        let command = commands.iter_mut().find(|command| command.start == start);
        let command = command.expect("an answer to what was written");
        command.confirmed = Some(now);
        let (publishes, folded) = (command.publishes.clone(), command.folded);
        if folded {
            self.count.add("one OK for a batch");
        }
        self.all_is_well_with(&publishes);
        for publish in publishes {
            self.count.add("OK");
            self.publishes[publish].confirmed.get_or_insert(now);
        }
    }

    /// What is sent and not answered is within the window; one publish may always be.
    fn check_window(&self, place: usize) {
        let line = &self.lines[place];
        let flying = line
            .commands
            .iter()
            .filter(|command| !command.publishes.is_empty() && command.confirmed.is_none());
        let (mut commands, mut count, mut bytes) = (0, 0, 0);
        for command in flying {
            commands += 1;
            count += command.publishes.len();
            bytes += command.bytes;
        }
        let within = count <= self.setup.window && bytes <= self.setup.window_bytes;
        assert!(within || count == 1, "{count} publishes, {bytes} bytes fly");
        // No answer can have come sooner than that to IDENTIFY.
        let most = LEAST as u128 + line.round_trip.as_micros() / 50;
        assert!(
            self.setup.order == Order::All || commands <= most,
            "{commands} commands fly, with answers after {:?}",
            line.round_trip
        );
    }
}
