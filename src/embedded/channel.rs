//! A channel: a queue of copies, those of them that are in flight or deferred, and its consumers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::Notify;

/// Why a FIN, a REQ or a TOUCH fails, in nsqd's words.
pub(super) const NOT_IN_FLIGHT: &str = "ID not in flight";
const NOT_THE_OWNER: &str = "client does not own message";

/// Instead of a time that no clock can tell.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[derive(Debug, Default)]
pub(super) struct Channel {
    pub(super) consumers: BTreeMap<u64, Consumer>,
    pub(super) paused: bool,
    pub(super) message_count: u64,
    pub(super) requeue_count: u64,
    pub(super) timeout_count: u64,
    queue: VecDeque<Queued>,
    in_flight: HashMap<u64, InFlight>,
    /// When which message in flight times out.
    timeouts: BTreeSet<(Instant, u64)>,
    /// By the time at which they are due.
    deferred: BTreeMap<(Instant, u64), Queued>,
    /// The consumer that was served last: the next message is for another one.
    last_served: u64,
}

/// A channel's own copy of a message.
#[derive(Debug)]
pub(super) struct Queued {
    id: u64,
    timestamp: i64,
    attempts: u16,
    body: Bytes,
}

#[derive(Debug)]
struct InFlight {
    message: Queued,
    connection: u64,
    delivered: Instant,
    timeout: Instant,
}

/// What a channel knows of a connection that has subscribed to it.
#[derive(Debug, Default)]
pub(super) struct Consumer {
    pub(super) ready_count: i64,
    pub(super) in_flight_count: i64,
    pub(super) message_count: u64,
    pub(super) finish_count: u64,
    pub(super) requeue_count: u64,
    /// Wakes the connection's task.
    wake: Arc<Notify>,
}

/// How a connection wants its messages, as nsqd's message pump has heard it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) msg_timeout: Duration,
    pub(super) sample_rate: i64,
}

impl Queued {
    pub(super) fn new(id: u64, timestamp: i64, body: Bytes) -> Self {
        Self {
            id,
            timestamp,
            attempts: 0,
            body,
        }
    }

    /// `[i64 timestamp][u16 attempts][16 bytes id][body]`, in a frame of type 2.
    fn write_to(&self, out: &mut Vec<u8>) {
        let size = u32::try_from(4 + 26 + self.body.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&size.to_be_bytes());
        out.extend_from_slice(&2_u32.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.attempts.to_be_bytes());
        out.extend_from_slice(format!("{:016x}", self.id).as_bytes());
        out.extend_from_slice(&self.body);
    }
}

impl Consumer {
    pub(super) fn new(wake: Arc<Notify>) -> Self {
        Self {
            wake,
            ..Self::default()
        }
    }

    /// RDY is a ceiling for what is in flight, and not a countdown.
    fn is_ready(&self) -> bool {
        self.in_flight_count < self.ready_count
    }
}

/// Messages come and go.
impl Channel {
    /// Takes a copy from the topic. Whoever puts something calls [`wake`](Self::wake) when all is
    /// there.
    pub(super) fn put(&mut self, message: Queued, defer: Option<Duration>) {
        self.message_count += 1;
        match defer {
            None => self.queue.push_back(message),
            Some(delay) => self.defer(message, delay),
        }
    }

    /// Writes the frames of messages for this consumer, as many as it is ready for, but no more than
    /// its share of the queue and about `room` bytes. Whether it is ready for more that is there.
    pub(super) fn take(
        &mut self,
        connection: u64,
        terms: Terms,
        room: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        if self.paused || self.queue.is_empty() {
            return false;
        }
        let ready = self.consumers.values().filter(|c| c.is_ready()).count();
        let share = self.queue.len().div_ceil(ready.max(1));
        let Some(consumer) = self.consumers.get_mut(&connection) else {
            return false;
        };
        let now = Instant::now();
        for _ in 0..share {
            if !consumer.is_ready() || out.len() >= room {
                break;
            }
            let Some(mut message) = self.queue.pop_front() else {
                break;
            };
            // Off by one, as nsqd is: a rate of 10 lets 11 in a hundred pass. The others are gone.
            if terms.sample_rate > 0 && fastrand::i64(0..100) > terms.sample_rate {
                continue;
            }
            message.attempts = message.attempts.wrapping_add(1);
            message.write_to(out);
            consumer.in_flight_count += 1;
            consumer.message_count += 1;
            self.last_served = connection;
            let timeout = later(now, terms.msg_timeout);
            self.timeouts.insert((timeout, message.id));
            let in_flight = InFlight {
                connection,
                delivered: now,
                timeout,
                message,
            };
            self.in_flight.insert(in_flight.message.id, in_flight);
        }
        consumer.is_ready() && !self.queue.is_empty()
    }

    pub(super) fn finish(&mut self, connection: u64, id: &[u8]) -> Result<(), &'static str> {
        self.take_back(connection, id)?;
        if let Some(consumer) = self.consumers.get_mut(&connection) {
            consumer.finish_count += 1;
            consumer.in_flight_count -= 1;
        }
        Ok(())
    }

    pub(super) fn requeue(
        &mut self,
        connection: u64,
        id: &[u8],
        delay: Duration,
    ) -> Result<(), &'static str> {
        let message = self.take_back(connection, id)?.message;
        self.requeue_count += 1;
        if let Some(consumer) = self.consumers.get_mut(&connection) {
            consumer.requeue_count += 1;
            consumer.in_flight_count -= 1;
        }
        if delay.is_zero() {
            self.queue.push_back(message);
            self.wake();
        } else {
            self.defer(message, delay);
        }
        Ok(())
    }

    /// Starts the time-out anew, but never beyond `longest` after this delivery.
    pub(super) fn touch(
        &mut self,
        connection: u64,
        id: &[u8],
        timeout: Duration,
        longest: Duration,
    ) -> Result<(), &'static str> {
        let mut in_flight = self.take_back(connection, id)?;
        let latest = later(in_flight.delivered, longest);
        in_flight.timeout = later(Instant::now(), timeout).min(latest);
        let id = in_flight.message.id;
        self.timeouts.insert((in_flight.timeout, id));
        self.in_flight.insert(id, in_flight);
        Ok(())
    }

    fn take_back(&mut self, connection: u64, id: &[u8]) -> Result<InFlight, &'static str> {
        let id = message_id(id).ok_or(NOT_IN_FLIGHT)?;
        let owner = self.in_flight.get(&id).map(|message| message.connection);
        if owner.is_some_and(|owner| owner != connection) {
            return Err(NOT_THE_OWNER);
        }
        let in_flight = self.in_flight.remove(&id).ok_or(NOT_IN_FLIGHT)?;
        self.timeouts.remove(&(in_flight.timeout, id));
        Ok(in_flight)
    }

    fn defer(&mut self, message: Queued, delay: Duration) {
        let due = later(Instant::now(), delay);
        self.deferred.insert((due, message.id), message);
    }
}

/// Time passes.
impl Channel {
    pub(super) fn next_due(&self) -> Option<Instant> {
        let timeout = self.timeouts.first().map(|(due, _)| *due);
        let deferred = self.deferred.first_key_value().map(|((due, _), _)| *due);
        timeout.into_iter().chain(deferred).min()
    }

    /// Puts back into the queue what has timed out and what was deferred until now. Whether there
    /// was any.
    ///
    /// The time-out of a message whose connection has closed comes in the same way: nsqd does
    /// nothing about it at the close.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some((due, id)) = self.timeouts.first().copied() {
            if due > now {
                break;
            }
            self.timeouts.pop_first();
            if let Some(in_flight) = self.in_flight.remove(&id) {
                any = true;
                self.timeout_count += 1;
                if let Some(consumer) = self.consumers.get_mut(&in_flight.connection) {
                    consumer.in_flight_count -= 1;
                }
                self.queue.push_back(in_flight.message);
            }
        }
        while let Some(first) = self.deferred.first_entry() {
            if first.key().0 > now {
                break;
            }
            any = true;
            self.queue.push_back(first.remove());
        }
        if any {
            self.wake();
        }
        any
    }
}

/// The whole of it.
impl Channel {
    pub(super) fn depth(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn deferred_count(&self) -> usize {
        self.deferred.len()
    }

    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
        self.wake();
    }

    /// Drops every message, also those in flight.
    pub(super) fn empty(&mut self) {
        self.queue.clear();
        self.in_flight.clear();
        self.timeouts.clear();
        self.deferred.clear();
        for consumer in self.consumers.values_mut() {
            consumer.in_flight_count = 0;
        }
    }

    /// As an nsqd that ends writes everything to its disk: behind the queue come those in flight,
    /// then the deferred ones.
    pub(super) fn flush(&mut self) {
        let in_flight = std::mem::take(&mut self.timeouts);
        for (_, id) in in_flight {
            let message = self.in_flight.remove(&id);
            self.queue
                .extend(message.map(|in_flight| in_flight.message));
        }
        self.queue
            .extend(std::mem::take(&mut self.deferred).into_values());
    }

    /// Tells every consumer that can take a message that there is one; the one served last is told
    /// last.
    pub(super) fn wake(&mut self) {
        if self.paused || self.queue.is_empty() {
            return;
        }
        let after = self.consumers.range(self.last_served.saturating_add(1)..);
        let before = self.consumers.range(..=self.last_served);
        for (_, consumer) in after.chain(before) {
            if consumer.is_ready() {
                consumer.wake.notify_one();
            }
        }
    }
}

/// A message's id as it was sent, if it can be one of ours: 16 hexadecimal digits, lower case.
fn message_id(id: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(id).ok()?;
    let ours = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    (id.len() == 16 && digits.bytes().all(ours))
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

fn later(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay.min(FOR_EVER)).unwrap_or(now)
}
