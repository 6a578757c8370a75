//! The messages that are held: received, and not answered yet. Pure.
//!
//! ```text
//!           receive            start               answer
//!   nsqd -----------> Waiting -------> Started ------------> freed
//!                        |              |    ^
//!               deadline |     deadline |    | redelivered on the same connection: attached
//!                        v              v    |
//!                      freed          Expired -------------> freed
//!                                             late answer
//! ```
//!
//! Each message has a slot. A slot's generation tells an answer to its message from an answer to an
//! earlier one.

mod connections;
mod deadlines;
mod finished_late;
mod ids;
mod results;
mod slot;
mod ticket;

use std::time::{Duration, Instant};

pub(super) use self::{
    connections::Timing,
    results::{Answered, Due, Received, Returned},
    slot::Start,
    ticket::Ticket,
};
use self::{
    connections::{Connection, Connections},
    deadlines::{Deadlines, First, Place},
    finished_late::FinishedLate,
    ids::{Ids, NONE, as_index},
    slot::{Slot, State},
};
use super::{backoff::Window, connection_key::ConnectionKey};
use crate::protocol::MessageId;

/// All held messages of a consumer.
#[derive(Debug)]
pub(super) struct InFlight {
    auto_touch: bool,
    slots: Vec<Slot>,
    free: Vec<u32>,
    connections: Connections,
    /// A lost connection still has messages.
    has_lost: bool,
    deadlines: Deadlines,
    /// Where the last slot of a group was found that was due.
    cursor: usize,
    waiting: usize,
    started: usize,
    ids: Ids,
    /// When the first message was started.
    first_start: Option<Instant>,
}

impl InFlight {
    /// `auto_touch`: messages that are with handlers are touched at two thirds of their timeout.
    pub(super) fn new(auto_touch: bool) -> Self {
        Self {
            auto_touch,
            slots: Vec::new(),
            free: Vec::new(),
            connections: Connections::default(),
            has_lost: false,
            deadlines: Deadlines::default(),
            cursor: 0,
            waiting: 0,
            started: 0,
            ids: Ids::new(),
            first_start: None,
        }
    }

    /// The start of all messages that are started now.
    pub(super) fn start_at(&mut self, window: Window, now: Instant) -> Start {
        let first = *self.first_start.get_or_insert(now);
        Start {
            window,
            nanos: nanos_between(first, now),
        }
    }

    /// How long ago messages were started.
    pub(super) fn time_since(&self, start: Start, now: Instant) -> Duration {
        let nanos = nanos_between(self.first_start.unwrap_or(now), now);
        Duration::from_nanos(nanos.saturating_sub(start.nanos))
    }

    /// Messages that no handler has.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Messages that handlers have, expired ones included.
    pub(super) fn started(&self) -> usize {
        self.started
    }

    /// Messages of a connection that have not expired.
    pub(super) fn held(&self, key: ConnectionKey) -> usize {
        let index = self.connections.find(key);
        let connection = index.and_then(|index| self.connections.get(index));
        connection.map_or(0, |it| it.held)
    }

    /// Messages of an nsqd that have not expired, those of its lost connections included.
    pub(super) fn held_of_nsqd(&self, nsqd: u32) -> usize {
        let connections = self.connections.iter();
        let of_nsqd = connections.filter(|it| it.key.nsqd == nsqd);
        of_nsqd.map(|it| it.held).sum()
    }

    /// Adds a connection.
    pub(super) fn open(&mut self, key: ConnectionKey, timing: Timing) {
        self.connections.add(Connection::new(key, timing));
    }

    /// Notes that a write has failed: answers of a connection's messages cannot be written. It may
    /// still receive messages.
    pub(super) fn stop_answers(&mut self, key: ConnectionKey) {
        if let Some((_, connection)) = self.connections.find_mut(key) {
            connection.is_writable = false;
        }
    }

    /// Notes that a connection is lost. Its messages stay until they are answered or expire; their
    /// answers cannot be written.
    pub(super) fn close(&mut self, key: ConnectionKey) {
        let Some(index) = self.connections.find(key) else {
            return;
        };
        if let Some(connection) = self.connections.get_mut(index) {
            connection.is_open = false;
            connection.finished_late = FinishedLate::default();
        }
        self.forget_unused();
    }

    /// Whether a lost connection to the same nsqd still has this message with a handler. An nsqd
    /// that was killed may deliver it as a first delivery.
    pub(super) fn is_with_a_handler_elsewhere(&self, key: ConnectionKey, id: MessageId) -> bool {
        if !self.has_lost {
            return false;
        }
        let is_elsewhere = |slot: &Slot| {
            let connection = self.connections.get(slot.connection);
            let is_other = |it: &Connection| !it.is_open && it.key.nsqd == key.nsqd;
            slot.id == id
                && matches!(slot.state, State::Started(_) | State::Expired(_))
                && connection.is_some_and(is_other)
        };
        let found = |slot| self.slot(slot).is_some_and(is_elsewhere);
        self.ids.find(self.ids.hash(id), found).is_some()
    }

    /// Takes a message that a connection has received.
    pub(super) fn receive(
        &mut self,
        key: ConnectionKey,
        id: MessageId,
        attempts: u16,
        now: Instant,
    ) -> Received {
        let Some((index, connection)) = self.connections.find_mut(key) else {
            return Received::Waiting(Ticket::DETACHED);
        };
        let hash = self.ids.hash(id);
        let slots = &self.slots;
        let is_it = |slot: &Slot| slot.id == id && slot.connection == index;
        let copy = |slot| slots.get(as_index(slot)).is_some_and(is_it);
        if let Some(slot) = self.ids.find(hash, copy) {
            return self.receive_again(slot, attempts, now);
        }
        if connection.finished_late.contains(id) {
            return Received::FinishedBefore;
        }
        connection.slots += 1;
        connection.held += 1;
        let deadline = connection.deadline.after(now);
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => u32::try_from(self.slots.len()).unwrap_or(NONE),
        };
        let place = self.deadlines.set(slot, index, deadline);
        let fresh = |generation| Slot {
            generation,
            state: State::Waiting,
            connection: index,
            id,
            attempts,
            received: now,
            deadline,
            place,
        };
        let mut generation = 0;
        if let Some(used) = self.slots.get_mut(as_index(slot)) {
            generation = used.generation;
            *used = fresh(generation);
        } else {
            self.slots.push(fresh(generation));
        }
        self.ids.insert(slot, hash);
        self.waiting += 1;
        Received::Waiting(Ticket { slot, generation })
    }

    /// Takes a message of which an earlier copy is in `slot`.
    fn receive_again(&mut self, slot: u32, attempts: u16, now: Instant) -> Received {
        let Some(copy) = self.slots.get_mut(as_index(slot)) else {
            return Received::Waiting(Ticket::DETACHED);
        };
        copy.attempts = attempts;
        let received = match copy.state {
            // The copies differ in their attempts only.
            State::Waiting | State::Free => Received::Replaced,
            State::Started(_) => Received::Attached { was_held: true },
            State::Expired(start) => {
                copy.state = State::Started(start);
                if let Some(connection) = self.connections.get_mut(copy.connection) {
                    connection.held += 1;
                }
                Received::Attached { was_held: false }
            }
        };
        self.restart_timeout(slot, now);
        received
    }

    /// Begins the timeout of a copy that was received now.
    fn restart_timeout(&mut self, slot: u32, now: Instant) {
        let Some(copy) = self.slots.get_mut(as_index(slot)) else {
            return;
        };
        let Some(connection) = self.connections.get(copy.connection) else {
            return;
        };
        copy.received = now;
        copy.deadline = now + connection.timing.timeout;
        self.schedule(slot);
    }

    /// Sets when a slot is due: at its deadline, or when it is to be touched before that.
    fn schedule(&mut self, slot: u32) {
        let Some(copy) = self.slot(slot) else { return };
        let mut due = copy.deadline;
        let connection = self.connections.get(copy.connection);
        if let (State::Started(_), true, Some(connection)) =
            (&copy.state, self.auto_touch, connection)
        {
            let before = connection.timing.timeout / 3;
            due = due.checked_sub(before).unwrap_or(due);
        }
        self.set_due(slot, Some(due));
    }

    fn set_due(&mut self, slot: u32, due: Option<Instant>) {
        if let Some(copy) = self.slots.get_mut(as_index(slot)) {
            self.deadlines.unset(slot, copy.connection, copy.place);
            copy.place = due.map_or(Place::Unset, |due| {
                self.deadlines.set(slot, copy.connection, due)
            });
        }
    }

    /// Whether a message still waits for a handler.
    pub(super) fn is_waiting(&self, ticket: Ticket) -> bool {
        let slot = self.get(ticket);
        slot.is_some_and(|slot| matches!(slot.state, State::Waiting))
    }

    /// Starts a message that waits: returns the number of its deliveries, and when it was received.
    /// `None` if it does not wait any more, or if its deadline has passed and is not judged yet.
    #[inline(always)]
    pub(super) fn start(
        &mut self,
        ticket: Ticket,
        start: Start,
        now: Instant,
    ) -> Option<(u16, Instant)> {
        let slot = self.get_mut(ticket)?;
        if !matches!(slot.state, State::Waiting) || slot.deadline <= now {
            return None;
        }
        slot.state = State::Started(start);
        let started = (slot.attempts, slot.received);
        self.waiting -= 1;
        self.started += 1;
        if self.auto_touch {
            self.schedule(ticket.slot);
        }
        Some(started)
    }

    /// Frees the slot of a message that its handler has answered. `None` if it was answered or
    /// returned before.
    #[inline(always)]
    pub(super) fn answer(
        &mut self,
        ticket: Ticket,
        is_finish: bool,
        now: Instant,
    ) -> Option<Answered> {
        let slot = self.get(ticket)?;
        let (was_held, start) = match slot.state {
            State::Started(start) => (true, start),
            State::Expired(start) => (false, start),
            State::Free | State::Waiting => return None,
        };
        let (id, attempts, deadline) = (slot.id, slot.attempts, slot.deadline);
        let connection = self.free_slot(ticket.slot)?;
        let is_late = connection.margin.after(now) >= deadline;
        // If the arbiter was blocked, the deadline may not have been judged yet.
        let is_expired = !was_held || (is_late && deadline <= now);
        let (key, is_open) = (connection.key, connection.takes_answers());
        if is_expired && is_finish && is_open {
            connection.finished_late.insert(id);
        }
        if !is_open {
            self.forget_unused();
        }
        Some(Answered {
            key,
            id,
            attempts,
            start,
            is_expired,
            was_held,
            is_late,
            is_open,
        })
    }

    /// Extends the deadline of a message that is touched now. `None` if touching has no effect: it
    /// is answered, it has expired, its connection is lost, or it has nsqd's longest timeout.
    pub(super) fn touch(
        &mut self,
        ticket: Ticket,
        now: Instant,
    ) -> Option<(ConnectionKey, MessageId)> {
        let slot = self.get(ticket)?;
        let State::Started(_) = slot.state else {
            return None;
        };
        let (connection, id) = (slot.connection, slot.id);
        if slot.deadline <= now || !self.extend(ticket.slot, now) {
            return None;
        }
        self.schedule(ticket.slot);
        Some((self.connections.get(connection)?.key, id))
    }

    /// Moves the deadline of a slot; returns whether it is later now.
    fn extend(&mut self, slot: u32, now: Instant) -> bool {
        let Some(slot) = self.slots.get_mut(as_index(slot)) else {
            return false;
        };
        let Some(connection) = self.connections.get(slot.connection) else {
            return false;
        };
        let timing = connection.timing;
        let deadline = (now + timing.timeout).min(slot.received + timing.max_timeout);
        if !connection.takes_answers() || deadline <= slot.deadline {
            return false;
        }
        slot.deadline = deadline;
        true
    }

    /// When the next message expires or is to be touched.
    pub(super) fn due(&self) -> Option<Instant> {
        self.deadlines.due()
    }

    /// Expires or touches a message that is due at `due`; `now` is not earlier. To be repeated
    /// until it returns `None`.
    pub(super) fn take_due(&mut self, due: Instant, now: Instant) -> Option<Due> {
        let (slot, key, id, connection, start) = loop {
            let (_, first) = self.deadlines.first().filter(|(first, _)| *first <= due)?;
            let slot = match first {
                First::Slot(slot) => slot,
                First::Group { connection, number } => self.find_in_group(connection, number)?,
            };
            let copy = self.slot(slot)?;
            let (id, deadline, connection) = (copy.id, copy.deadline, copy.connection);
            let key = self.connections.get(connection)?.key;
            let State::Started(start) = copy.state else {
                self.remove(slot);
                return Some(Due::Expired {
                    key,
                    id,
                    started: None,
                });
            };
            if deadline <= due {
                break (slot, key, id, connection, start);
            }
            // If the arbiter was blocked, it may be too late.
            if now < deadline && self.extend(slot, now) {
                self.schedule(slot);
                return Some(Due::Touch { key, id });
            }
            // Touching has no effect any more; the deadline remains.
            self.set_due(slot, Some(deadline));
        };
        self.set_due(slot, None);
        if let Some(copy) = self.slots.get_mut(as_index(slot)) {
            copy.state = State::Expired(start);
        }
        if let Some(connection) = self.connections.get_mut(connection) {
            connection.held = connection.held.saturating_sub(1);
        }
        Some(Due::Expired {
            key,
            id,
            started: Some(start),
        })
    }

    /// A slot whose deadline is in this group. The search begins where the last one ended: for a
    /// whole group it passes the slots once.
    fn find_in_group(&mut self, connection: u32, number: u32) -> Option<u32> {
        let is_it =
            |slot: &Slot| slot.place == Place::Group(number) && slot.connection == connection;
        let from = self.cursor;
        let behind = self.slots.iter().skip(from).position(is_it);
        let found = behind.map(|position| from + position);
        self.cursor = found.or_else(|| self.slots.iter().position(is_it))?;
        u32::try_from(self.cursor).ok()
    }

    /// Takes back the messages that no handler has, of one connection or of all.
    pub(super) fn return_waiting(
        &mut self,
        of: Option<ConnectionKey>,
        now: Instant,
    ) -> Vec<Returned> {
        self.take_back(of, now, |slot| matches!(slot.state, State::Waiting))
    }

    /// Takes back the messages that handlers have, of one connection or of all: later answers count
    /// no more.
    pub(super) fn return_started(
        &mut self,
        of: Option<ConnectionKey>,
        now: Instant,
    ) -> Vec<Returned> {
        self.take_back(of, now, |slot| {
            matches!(slot.state, State::Started(_) | State::Expired(_))
        })
    }

    fn take_back(
        &mut self,
        of: Option<ConnectionKey>,
        now: Instant,
        is_wanted: impl Fn(&Slot) -> bool,
    ) -> Vec<Returned> {
        let mut returned = Vec::new();
        for slot in 0..u32::try_from(self.slots.len()).unwrap_or(NONE) {
            let Some(copy) = self.slot(slot).filter(|copy| is_wanted(copy)) else {
                continue;
            };
            let connection = self.connections.get(copy.connection);
            let Some(connection) = connection.filter(|it| of.is_none_or(|key| key == it.key))
            else {
                continue;
            };
            returned.push(Returned {
                key: connection.key,
                id: copy.id,
                is_held: !matches!(copy.state, State::Expired(_)),
                is_late: now + connection.timing.margin >= copy.deadline,
                is_open: connection.takes_answers(),
            });
            self.remove(slot);
        }
        returned
    }

    /// Frees a slot, and returns its connection, which may be unused now.
    #[inline(always)]
    fn free_slot(&mut self, slot: u32) -> Option<&mut Connection> {
        let copy = self.slots.get_mut(as_index(slot))?;
        let index = copy.connection;
        let place = std::mem::replace(&mut copy.place, Place::Unset);
        self.deadlines.unset(slot, index, place);
        copy.generation = copy.generation.wrapping_add(1);
        let state = std::mem::replace(&mut copy.state, State::Free);
        self.free.push(slot);
        self.ids.remove(slot);
        let connection = self.connections.get_mut(index)?;
        connection.slots = connection.slots.saturating_sub(1);
        match state {
            State::Waiting => self.waiting -= 1,
            State::Started(_) | State::Expired(_) => self.started -= 1,
            State::Free => {}
        }
        if !matches!(state, State::Expired(_)) {
            connection.held = connection.held.saturating_sub(1);
        }
        Some(connection)
    }

    fn remove(&mut self, slot: u32) {
        self.free_slot(slot);
        self.forget_unused();
    }

    /// Forgets lost connections that have no messages, and notes whether others are left.
    #[inline(never)]
    fn forget_unused(&mut self) {
        self.connections.retain(|it| it.is_open || it.slots > 0);
        self.has_lost = self.connections.iter().any(|it| !it.is_open);
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(as_index(slot))
    }

    fn get(&self, ticket: Ticket) -> Option<&Slot> {
        let slot = self.slot(ticket.slot)?;
        slot.is_of(ticket).then_some(slot)
    }

    fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(as_index(ticket.slot))?;
        slot.is_of(ticket).then_some(slot)
    }
}

fn nanos_between(first: Instant, now: Instant) -> u64 {
    let nanos = now.saturating_duration_since(first).as_nanos();
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
