//! The probe of a backoff: one message from one connection.

use std::time::Instant;

use super::{connection::Connection, turns::Turns};
use crate::{consumer::connection_key::ConnectionKey, link::deadline_after};

/// The connection that is probed, or was probed last.
///
/// What is allowed is computed anew from the connections at each plan. A probe that is lost, has
/// ended or gets nothing is replaced, so it cannot get stuck.
#[derive(Debug, Default)]
pub(super) struct Probe {
    connection: Option<ConnectionKey>,
    /// It gets no RDY any more. The next one is selected as soon as it is settled.
    is_over: bool,
}

impl Probe {
    /// Sets the target of each connection.
    pub(super) fn plan(&mut self, connections: &mut [Connection], turns: &Turns, now: Instant) {
        let count = connections.len();
        let is_fruitless =
            |it: &Connection| Self::end(it, turns, count).is_some_and(|end| end <= now);
        let current = self.current(connections);
        self.is_over |= current.is_none_or(|it| is_fruitless(it) || is_spent(it));
        // A message may have come after all: then that is the probe.
        let has_message = current.is_some_and(|it| it.turn.is_served && it.capacity.held() > 0);
        if self.is_over
            && !has_message
            && let Some(next) = select(connections)
        {
            next.turn.since = now;
            next.turn.is_served = false;
            self.connection = Some(next.key);
            self.is_over = false;
        }
        for it in connections {
            let is_probed = !self.is_over && self.connection == Some(it.key);
            it.target = u32::from(is_probed);
        }
    }

    /// Returns when the next connection is probed if no message comes.
    pub(super) fn due(&self, connections: &[Connection], turns: &Turns) -> Option<Instant> {
        let current = self.current(connections).filter(|_| !self.is_over)?;
        Self::end(current, turns, connections.len())
    }

    fn end(current: &Connection, turns: &Turns, connections: usize) -> Option<Instant> {
        // After a pause, it may still hold the message of the turn before.
        let has_message = current.turn.is_served || current.capacity.held() > 0;
        let is_waiting = current.rdy() > 0 && !has_message;
        let end = deadline_after(current.turn.since, turns.idle_time(current, connections));
        (is_waiting && connections > 1).then_some(end)
    }

    fn current<'a>(&self, connections: &'a [Connection]) -> Option<&'a Connection> {
        let key = self.connection?;
        connections.iter().find(|it| it.key == key)
    }
}

/// Its message is answered, and it has no RDY for another one.
fn is_spent(connection: &Connection) -> bool {
    let is_answered = connection.turn.is_served && connection.capacity.held() == 0;
    is_answered && connection.rdy() == 0
}

/// Returns the connection to probe: the first in line that holds no message. The last probe must
/// be settled before, so that two messages are never on the wire. Its last answer may settle it in
/// this plan, and no event may follow.
fn select(connections: &mut [Connection]) -> Option<&mut Connection> {
    let may_receive = |it: &Connection| it.capacity.may_receive_without_rdy();
    if connections.iter().any(may_receive) {
        return None;
    }
    let line = connections.iter_mut();
    line.filter(|it| it.capacity.held() == 0)
        .min_by_key(|it| it.turn.ticket)
}
