//! State and statistics of the producer, compared with what was observed.

use actix_nsq::{
    Delivery, ErrorKind, ProducerState, producer::GetState, producer::GetStats, producer::Stats,
};
use futures::FutureExt;

use super::{
    command::Verb,
    line::Line,
    path::{At, variant},
    publish::{Publish, Way},
    setup::Order,
    truth::is_remembered,
    world::World,
};

impl World {
    /// Checks them while everything is idle.
    pub(crate) async fn look(&mut self) {
        self.settle_down().await;
        let mut stats = self.address().send(GetStats).boxed_local();
        let mut state = self.address().send(GetState).boxed_local();
        let _ = (&mut stats).now_or_never();
        self.settle_down().await;
        let stats = (&mut stats).now_or_never().expect("an answer at once");
        let state = (&mut state).now_or_never().expect("an answer at once");
        let stats = stats.expect("the producer runs");
        assert_eq!(state.expect("the producer runs"), stats.state);
        self.note(|| {
            format!(
                "{:?}, {} waiting, {} in flight",
                stats.state, stats.queued, stats.in_flight
            )
        });
        self.count.add(format!("looked at: {:?}", stats.state));
        self.check_state(stats.state);
        self.check_counts(&stats);
        self.check_flight(&stats);
        self.check_commands(&stats);
    }

    fn check_state(&self, state: ProducerState) {
        let expected = match self.path.at {
            At::Drained => ProducerState::Drained,
            _ if self.stopping.is_draining() => ProducerState::Draining,
            At::Idle => ProducerState::Idle,
            At::Dialling => ProducerState::Connecting,
            At::BackingOff => ProducerState::BackingOff,
            At::Lost => panic!("lost, and at rest"),
            At::Up => {
                let place = self.current().expect("a connection");
                let (line, network) = (&self.lines[place], self.network.lock());
                let wire = &network.wires[place];
                let over = wire.end_heard || wire.write_failed || line.odd().is_some();
                let over = over
                    || line
                        .refusal
                        .as_ref()
                        .is_some_and(|refusal| refusal.heard.is_some());
                if over || state == ProducerState::Disconnecting {
                    ProducerState::Disconnecting
                } else {
                    ProducerState::Connected
                }
            }
        };
        assert_eq!(state, expected);
    }

    fn check_counts(&self, stats: &Stats) {
        let came = self
            .publishes
            .iter()
            .filter(|publish| publish.answered.is_some() || publish.cancelled.is_none());
        let gone = self
            .publishes
            .iter()
            .filter(|publish| publish.cancelled.is_some())
            .count() as u64;
        // A publish that waits for capacity is counted afterwards.
        let waits = |publish: &&Publish| {
            publish.way == Way::Handle && publish.answered.is_none() && publish.cancelled.is_none()
        };
        let waiting = self.publishes.iter().filter(waits).count() as u64;
        let came = came.count() as u64;
        assert!(
            stats.published >= came - waiting && stats.published <= came + gone,
            "{stats:?}: {came} published, {gone} cancelled"
        );
        let between = |name: &str, count: u64, is: &dyn Fn(&Publish) -> bool| {
            let known = self.publishes.iter().filter(|publish| is(publish)).count() as u64;
            assert!(
                known <= count && count <= known + gone,
                "{name} is {count}, and not {known}; {gone} cancelled"
            );
        };
        let failed = |publish: &Publish, how: &dyn Fn(ErrorKind, Delivery) -> bool| match &publish
            .answered
        {
            Some((_, Err(error))) => how(error.kind(), error.delivery()),
            _ => false,
        };
        between("ok", stats.ok, &|publish| match &publish.answered {
            Some((_, answered)) => answered.is_ok(),
            None => publish.cancelled.is_none() && publish.confirmed.is_some(),
        });
        between("not_written", stats.not_written, &|publish| {
            failed(publish, &|_, delivery| delivery == Delivery::NotWritten)
        });
        between("maybe_written", stats.maybe_written, &|publish| {
            failed(publish, &|_, delivery| delivery == Delivery::MaybeWritten)
        });
        between("maybe_partial", stats.maybe_partial, &|publish| {
            failed(publish, &|_, delivery| delivery == Delivery::MaybePartial)
        });
        between("full", stats.rejected_full, &|publish| {
            failed(publish, &|kind, _| kind == ErrorKind::Full)
        });
        between("timed_out", stats.timed_out, &|publish| {
            failed(publish, &|kind, _| kind == ErrorKind::Timeout)
        });
        between(
            "refused",
            stats.rejected,
            &|publish| match &publish.answered {
                Some((_, answered)) => {
                    let remembered = answered.as_ref().is_err_and(is_remembered);
                    publish.refused.is_some() || remembered
                }
                None => false,
            },
        );
        assert_eq!(
            (stats.connects, stats.disconnects),
            (self.path.connects, self.path.disconnects)
        );
        let last = stats.last_error.as_ref().map(variant).unwrap_or_default();
        assert_eq!(
            last, self.path.last_error,
            "why there was no connection last"
        );
        assert_eq!(stats.bytes_written, self.bytes_taken(), "bytes");
        let again: usize = self
            .publishes
            .iter()
            .map(|publish| publish.written.len().saturating_sub(1))
            .sum();
        assert!(stats.requeued >= again as u64, "retried");
        let answered = stats.ok + stats.not_written + stats.maybe_written + stats.maybe_partial;
        let unanswered = stats.published - answered;
        assert!(
            unanswered <= (stats.queued + stats.in_flight) as u64,
            "{stats:?}"
        );
        assert!(
            stats.timed_out > 0
                || self.is_topic_rejected()
                || unanswered == (stats.queued + stats.in_flight) as u64,
            "{stats:?}"
        );
    }

    /// A rejected topic leaves answered publishes in flight, as a timeout does.
    fn is_topic_rejected(&self) -> bool {
        self.lines.iter().any(|line| line.refusal.is_some())
    }

    /// The bytes of commands that all sockets took, without NOPs.
    fn bytes_taken(&self) -> u64 {
        let network = self.network.lock();
        let lines = self.lines.iter().zip(&network.wires);
        let counted = lines
            .filter(|(line, _)| line.opened.is_some())
            .map(|(line, wire)| {
                let nops = line
                    .commands
                    .iter()
                    .filter(|command| command.verb == Verb::Nop)
                    .count();
                let rest = &wire.taken[line.seen..];
                let part_of_nop = if rest.first() == Some(&b'N') {
                    rest.len()
                } else {
                    0
                };
                wire.taken.len() - line.handshake_end - 4 * nops - part_of_nop
            });
        counted.sum::<usize>() as u64
    }

    fn check_flight(&self, stats: &Stats) {
        let setup = &self.setup;
        let held = stats.queued + stats.in_flight;
        assert!(held <= setup.max_pending, "{held} held");
        assert!(stats.queued_bytes + stats.in_flight_bytes <= setup.max_pending_bytes);
        let within = stats.in_flight <= setup.window && stats.in_flight_bytes <= setup.window_bytes;
        assert!(
            within || stats.in_flight == 1,
            "{} in flight",
            stats.in_flight
        );
        if stats.state != ProducerState::Connected {
            return;
        }
        let place = self.current().expect("a connection");
        let (line, network) = (&self.lines[place], self.network.lock());
        let flying = line
            .commands
            .iter()
            .filter(|command| command.confirmed.is_none());
        let flying: usize = flying.map(|command| command.publishes.len()).sum();
        assert!(stats.in_flight >= flying, "in flight");
        // Where the socket takes everything, all commands are on the wire and heartbeats are
        // answered.
        if !network.wires[place].is_full() {
            assert_eq!(stats.in_flight, flying, "in flight");
            assert!(!line.owes, "a heartbeat was not answered");
            let room = flying < setup.window && stats.in_flight_bytes < setup.window_bytes;
            let leaving = self.reconnect.is_some();
            assert!(
                !room
                    || stats.queued == 0
                    || self.may_wait(line, stats.queued)
                    || leaving
                    || setup.window_bytes < 10_000,
                "{} wait although the window is open",
                stats.queued
            );
        }
    }

    /// Whether publishes may wait although the window is open: for a larger batch, until the round
    /// trip is measured, or to be written together. All end with a response.
    fn may_wait(&self, line: &Line, queued: usize) -> bool {
        let commands = line.commands.iter();
        let in_flight = commands.filter(|sent| sent.confirmed.is_none());
        let mut publishing = in_flight.clone().filter(|sent| !sent.publishes.is_empty());
        (self.setup.order != Order::All && publishing.next().is_some())
            || in_flight.count() > 2 * queued + 8
    }

    /// Compares the counted commands and batches with those written.
    fn check_commands(&self, stats: &Stats) {
        let written = self.lines.iter().flat_map(|line| &line.commands);
        let written = written.filter(|command| !command.publishes.is_empty());
        let (mut commands, mut batches, mut batched) = (0, 0, 0);
        for command in written {
            commands += 1;
            if command.batched {
                batches += 1;
                batched += command.publishes.len() as u64;
            }
        }
        let answered = [stats.commands, stats.batches, stats.batched];
        let seen = [commands, batches, batched];
        let network = self.network.lock();
        // Commands that were never written are not observed.
        let all_is_seen = network
            .wires
            .iter()
            .all(|wire| !wire.write_failed && !wire.is_full())
            && network.wires.len() == 1
            && stats.state == ProducerState::Connected;
        let right = match all_is_seen {
            true => answered == seen,
            false => answered
                .iter()
                .zip(seen)
                .all(|(answered, seen)| *answered >= seen),
        };
        assert!(
            right,
            "commands, batches, batched: {answered:?}, and not {seen:?}"
        );
    }
}
