//! Checks flow control by the bytes that a consumer has read and written.
//!
//! RDY is a ceiling, so what a connection can have in flight, once nsqd has executed all that was
//! written, is at most `bound`: see `src/consumer/flow/capacity.rs`. This computes it anew.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::wire_log::{Delivery, Event, Id};

/// Time after a lower RDY in which nsqd may still send more. The consumer waits for 20 ms and two
/// round trips; the write may be later than its decision.
const SETTLE: Duration = Duration::from_millis(15);

/// What a check has seen.
#[derive(Debug, Default)]
pub struct Checked {
    pub messages: usize,
    /// RDYs written.
    pub readies: usize,
    pub most_unanswered: usize,
    /// The mean over the time.
    pub mean_unanswered: f64,
    /// The highest sum of RDYs.
    pub most_ready: usize,
    /// The sum of RDYs at the end.
    pub last_ready: usize,
    /// Messages that came later than [`SETTLE`] after a lower RDY: the machine or the network has
    /// stalled. Each may exceed the maximum.
    pub stalled: usize,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            messages,
            readies,
            most_unanswered,
            mean_unanswered,
            most_ready,
            last_ready,
            stalled,
        } = self;
        write!(
            f,
            "{messages} messages, {readies} RDYs; at most {most_unanswered} unanswered, \
             {mean_unanswered:.1} on average; RDY {most_ready}, {last_ready} at the end; {stalled} stalled"
        )
    }
}

#[derive(Debug)]
struct Connection {
    address: Arc<str>,
    is_open: bool,
    ready: usize,
    bound: usize,
    /// Messages received and not answered: their attempts, and whether a handler has ended.
    held: HashMap<Id, (u16, bool)>,
    /// When the last lower RDY was written.
    lowered: Option<Instant>,
}

impl Connection {
    fn settle(&mut self, now: Instant) {
        if self.lowered.is_some_and(|at| at + SETTLE <= now) {
            self.bound = self.bound.min(self.ready.max(self.held.len()));
        }
    }
}

struct Checker {
    max: usize,
    connections: Vec<Connection>,
    /// Deliveries of closed connections that handlers have.
    orphaned: HashSet<Delivery>,
    /// A higher RDY was written since the last message was read.
    has_grown: bool,
    checked: Checked,
}

/// An error if a consumer with this `max_in_flight` has requested more, or nsqd has sent more than
/// the consumer had requested.
pub fn check(max: usize, events: &[(Instant, Event)]) -> Result<Checked, String> {
    let mut checker = Checker {
        max,
        connections: Vec::new(),
        orphaned: HashSet::new(),
        has_grown: false,
        checked: Checked::default(),
    };
    let mut seconds = 0.0;
    for (index, (at, event)) in events.iter().enumerate() {
        if let Some((before, _)) = index.checked_sub(1).map(|before| &events[before]) {
            let passed = at.duration_since(*before).as_secs_f64();
            let (_, _, unanswered) = checker.totals();
            checker.checked.mean_unanswered += unanswered as f64 * passed;
            seconds += passed;
        }
        if let Err(problem) = checker.add(*at, event) {
            let before = &events[index.saturating_sub(30)..=index];
            let lines = before.iter().map(|(then, event)| {
                let earlier = at.duration_since(*then);
                format!("{earlier:10.1?} before: {event}\n")
            });
            let lines: String = lines.collect();
            return Err(format!("{problem}\n{lines}{checker}"));
        }
    }
    checker.checked.mean_unanswered /= f64::max(seconds, f64::EPSILON);
    Ok(checker.checked)
}

impl fmt::Display for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, it) in self.connections.iter().enumerate() {
            let state = if it.is_open { "open" } else { "closed" };
            let (ready, bound, held) = (it.ready, it.bound, it.held.len());
            writeln!(
                f,
                "{number} is {state}: RDY {ready}, bound {bound}, {held} held"
            )?;
        }
        write!(
            f,
            "{} of closed ones; {}",
            self.orphaned.len(),
            self.checked
        )
    }
}

impl Checker {
    fn add(&mut self, at: Instant, event: &Event) -> Result<(), String> {
        for connection in &mut self.connections {
            connection.settle(at);
        }
        let mut result = Ok(());
        match event {
            Event::Opened(_, address) => self.connections.push(Connection {
                address: Arc::clone(address),
                is_open: true,
                ready: 0,
                bound: 0,
                held: HashMap::new(),
                lowered: None,
            }),
            Event::Received(connection, message) => {
                self.checked.messages += 1;
                result = self.check_maximum();
                let it = &mut self.connections[*connection];
                it.held.insert(message.id, (message.attempts, false));
                if it.held.len() > it.bound {
                    if it.lowered.is_none_or(|then| then + SETTLE > at) {
                        let bound = it.bound;
                        result = Err(format!("a message of {connection} exceeds {bound}"));
                    }
                    it.bound = it.held.len();
                    self.checked.stalled += 1;
                }
            }
            Event::Ready(connection, count) => result = self.ready(*connection, *count, at),
            Event::Answered(connection, id) => {
                let it = &mut self.connections[*connection];
                if it.held.remove(id).is_some() {
                    it.bound = it.ready.max(it.bound.saturating_sub(1));
                }
            }
            Event::Closed(connection) => self.close(*connection),
            Event::Handled(delivery) => self.handled(delivery),
            Event::MaxInFlight(max) => {
                result = self.check_maximum();
                self.max = *max;
            }
        }
        let (ready, _, unanswered) = self.totals();
        let checked = &mut self.checked;
        checked.most_unanswered = checked.most_unanswered.max(unanswered);
        checked.most_ready = checked.most_ready.max(ready);
        checked.last_ready = ready;
        result
    }

    fn ready(&mut self, connection: usize, count: usize, at: Instant) -> Result<(), String> {
        self.checked.readies += 1;
        let it = &mut self.connections[connection];
        if !it.is_open {
            return Ok(());
        }
        let before = std::mem::replace(&mut it.ready, count);
        match count.cmp(&before) {
            Ordering::Less => it.lowered = Some(at),
            Ordering::Equal => return Err(format!("RDY {count} of {connection} is no change")),
            Ordering::Greater => {
                self.has_grown |= count > it.bound;
                it.bound = it.bound.max(count);
                let (ready, ..) = self.totals();
                if ready > self.max {
                    let max = self.max;
                    return Err(format!("the sum of RDYs is {ready}, the maximum {max}"));
                }
            }
        }
        Ok(())
    }

    /// The sum of RDYs, what can be in flight, and what is unanswered.
    fn totals(&self) -> (usize, usize, usize) {
        let orphaned = self.orphaned.len();
        let open = || self.connections.iter().filter(|it| it.is_open);
        let ready = open().map(|it| it.ready).sum();
        let bound = open().map(|it| it.bound).sum::<usize>() + orphaned;
        let unanswered = open().map(|it| it.held.len()).sum::<usize>() + orphaned;
        (ready, bound, unanswered)
    }

    /// Only a higher RDY can exceed the maximum: after the maximum fell, what is in flight falls
    /// with the answers.
    ///
    /// The sockets of a burst are written one after the other. What it frees on one may be written
    /// behind what it requests on another, but before any message is read.
    fn check_maximum(&mut self) -> Result<(), String> {
        let (_, bound, _) = self.totals();
        let max = self.max;
        if std::mem::take(&mut self.has_grown) && bound > max + self.checked.stalled {
            return Err(format!("{bound} can be in flight, the maximum is {max}"));
        }
        Ok(())
    }

    /// Messages that handlers have still count.
    fn close(&mut self, connection: usize) {
        let it = &mut self.connections[connection];
        it.is_open = false;
        let address = &it.address;
        let held = it.held.drain().filter(|(_, (_, is_handled))| !is_handled);
        let held = held.map(|(id, (attempts, _))| Delivery {
            address: Arc::clone(address),
            id,
            attempts,
        });
        self.orphaned.extend(held);
    }

    fn handled(&mut self, delivery: &Delivery) {
        if self.orphaned.remove(delivery) {
            return;
        }
        let open = self.connections.iter_mut().filter(|it| it.is_open);
        let mut at_address = open.filter(|it| it.address == delivery.address);
        let held = at_address.find_map(|it| it.held.get_mut(&delivery.id));
        if let Some((attempts, is_handled)) = held {
            *is_handled |= *attempts == delivery.attempts;
        }
    }
}
