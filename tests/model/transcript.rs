//! What the client has read and written, command by command.

use actix_nsq::{Delivery, ErrorKind};
use tokio::time::Instant;

use super::{
    command::{Command, Verb, read},
    line::Written,
    publish::Way,
    record,
    setup::Order,
    world::{TOPICS, World},
};

impl World {
    pub(crate) fn see_wires(&mut self) {
        (0..self.lines.len()).for_each(|place| self.transcribe(place));
    }

    /// Processes what the client has read since the last call.
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

    /// Processes the commands that the client's socket has wholly taken since the last call.
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
                    batched: false,
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

    /// The client's socket has wholly taken a command.
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
        let batched = self.is_batched(*verb, &publishes);
        match &publishes[..] {
            _ if batched => self.check_batch(place, command, &publishes),
            [single] => self.count_alone(*single),
            _ => {}
        }
        for publish in &publishes {
            self.publish_written(*publish, place, command, batched);
        }
        self.lines[place].commands.push(Written {
            start: command.start,
            verb: *verb,
            bytes: bodies.iter().map(Vec::len).sum(),
            publishes,
            batched,
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
        batched: bool,
    ) {
        let publish = &self.publishes[number];
        assert!(
            !publish.never,
            "{number} was rejected or cancelled before it can have been sent"
        );
        let verb = if batched { Verb::Mpub } else { publish.verb };
        assert_eq!((verb, publish.delay), (command.verb, command.delay));
        assert_eq!(TOPICS[publish.topic], command.topic);
        if let Some((at, answered)) = &publish.answered {
            // It keeps its place if it was in flight.
            let late = answered.as_ref().is_err_and(|error| {
                error.kind() == ErrorKind::Timeout && error.delivery() != Delivery::NotWritten
            });
            assert!(
                late && self.lines[place].opened.is_some_and(|opened| opened <= *at),
                "{number} is sent after it was answered: {answered:?}"
            );
        }
        let again = !publish.written.is_empty();
        if again && self.unrefused(publish).next().is_some() {
            assert!(
                self.setup.retry_maybe_written,
                "{number} is retried, and may be stored"
            );
            self.count.add("retried, may be stored");
        } else if again {
            self.count.add("retried");
        }
        self.check_order(number, place);
        self.publishes[number].written.push((place, command.start));
    }

    /// Whether a publish may be written before an older one: the older one was in the mailbox when
    /// a handle submitted the younger one.
    pub(crate) fn may_overtake(&self, younger: usize, older: usize) -> bool {
        let (younger, older) = (&self.publishes[younger], &self.publishes[older]);
        younger.way == Way::Handle && older.way != Way::Handle && younger.turn == older.turn
    }

    /// Checks the order: of its topic with batching, of all topics without.
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
            last.is_none_or(|last| last < number || self.may_overtake(last, number)),
            "{number} is written after {last:?}"
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
                && !self.may_overtake(*last, number)
                && self.publishes[*last]
                    .written
                    .iter()
                    .any(|(line, _)| *line == place)
        });
        assert_eq!(before, None, "{number} is written after a younger one");
        self.last_first[lane] = self.last_first[lane].max(Some(number));
    }

    fn confirmed(&mut self, place: usize, start: usize, now: Instant) {
        let commands = &mut self.lines[place].commands;
        let command = commands.iter_mut().find(|command| command.start == start);
        let command = command.expect("an answer to what was written");
        command.confirmed = Some(now);
        let (publishes, batched) = (command.publishes.clone(), command.batched);
        if batched {
            self.count.add("one OK for a batch");
        }
        self.all_is_well_with(&publishes);
        for publish in publishes {
            self.count.add("OK");
            self.publishes[publish].confirmed.get_or_insert(now);
        }
    }

    /// What is in flight is within the window; one publish always fits.
    fn check_window(&self, place: usize) {
        let line = &self.lines[place];
        let flying = line
            .commands
            .iter()
            .filter(|command| !command.publishes.is_empty() && command.confirmed.is_none());
        let (mut count, mut bytes) = (0, 0);
        for command in flying {
            count += command.publishes.len();
            bytes += command.bytes;
        }
        let within = count <= self.setup.window && bytes <= self.setup.window_bytes;
        assert!(
            within || count == 1,
            "{count} publishes, {bytes} bytes in flight"
        );
    }
}
