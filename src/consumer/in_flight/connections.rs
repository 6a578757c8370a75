//! The connections of held messages, by small indexes. Pure.

use std::time::{Duration, Instant};

use super::finished_late::FinishedLate;
use crate::consumer::connection_key::ConnectionKey;

/// When the messages of a connection expire.
#[derive(Debug, Clone, Copy)]
pub(in crate::consumer) struct Timing {
    /// Time from receipt to the deadline. It is shorter than nsqd's, which begins when nsqd puts
    /// the message into its buffer.
    pub(in crate::consumer) timeout: Duration,
    /// Time from receipt after which touching has no effect.
    pub(in crate::consumer) max_timeout: Duration,
    /// An answer so shortly before the deadline may reach nsqd too late.
    pub(in crate::consumer) margin: Duration,
}

/// A connection that is open, or lost and still has slots.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) key: ConnectionKey,
    pub(super) timing: Timing,
    /// The deadline of what is received now.
    pub(super) deadline: Sum,
    /// Answers now to messages with earlier deadlines are late.
    pub(super) margin: Sum,
    pub(super) is_open: bool,
    /// No write has failed.
    pub(super) is_writable: bool,
    /// Slots in any state.
    pub(super) slots: usize,
    /// Slots that are not expired.
    pub(super) held: usize,
    pub(super) finished_late: FinishedLate,
}

/// A time plus a duration, computed once for all messages of a burst.
#[derive(Debug)]
pub(super) struct Sum {
    plus: Duration,
    latest: Option<(Instant, Instant)>,
}

impl Sum {
    fn new(plus: Duration) -> Self {
        Self { plus, latest: None }
    }

    pub(super) fn after(&mut self, now: Instant) -> Instant {
        match self.latest {
            Some((at, sum)) if at == now => sum,
            _ => {
                let sum = now + self.plus;
                self.latest = Some((now, sum));
                sum
            }
        }
    }
}

impl Connection {
    /// Whether answers can be written.
    pub(super) fn takes_answers(&self) -> bool {
        self.is_open && self.is_writable
    }

    pub(super) fn new(key: ConnectionKey, timing: Timing) -> Self {
        Self {
            key,
            timing,
            deadline: Sum::new(timing.timeout),
            margin: Sum::new(timing.margin),
            is_open: true,
            is_writable: true,
            slots: 0,
            held: 0,
            finished_late: FinishedLate::default(),
        }
    }
}

/// All connections. A slot keeps the index of its connection, so that a message costs no search.
#[derive(Debug, Default)]
pub(super) struct Connections {
    places: Vec<Option<Connection>>,
    /// The index that was found last: messages come in reads of one connection.
    latest: u32,
}

impl Connections {
    /// Adds a connection.
    pub(super) fn add(&mut self, connection: Connection) {
        match self.places.iter_mut().find(|it| it.is_none()) {
            Some(free) => *free = Some(connection),
            None => self.places.push(Some(connection)),
        }
    }

    /// Forgets the others.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&Connection) -> bool) {
        for place in &mut self.places {
            if place.as_ref().is_some_and(|it| !is_kept(it)) {
                *place = None;
            }
        }
    }

    pub(super) fn get(&self, index: u32) -> Option<&Connection> {
        self.places.get(as_usize(index))?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Connection> {
        self.places.get_mut(as_usize(index))?.as_mut()
    }

    /// The index of the connection with this key.
    pub(super) fn find(&self, key: ConnectionKey) -> Option<u32> {
        if self.get(self.latest).is_some_and(|it| it.key == key) {
            return Some(self.latest);
        }
        let is_it = |it: &Option<Connection>| it.as_ref().is_some_and(|it| it.key == key);
        self.places
            .iter()
            .position(is_it)
            .and_then(|index| u32::try_from(index).ok())
    }

    /// The connection with this key and its index, which are found faster the next time.
    pub(super) fn find_mut(&mut self, key: ConnectionKey) -> Option<(u32, &mut Connection)> {
        let index = self.find(key)?;
        self.latest = index;
        Some((index, self.get_mut(index)?))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.places.iter().flatten()
    }
}

fn as_usize(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
