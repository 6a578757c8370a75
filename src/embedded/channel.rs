//! A channel: its copies of messages (queued, in flight or deferred) and its consumers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::frame;

/// nsqd's reasons for a failed FIN, REQ or TOUCH.
pub(super) const NOT_IN_FLIGHT: &str = "ID not in flight";
const NOT_OWNER: &str = "client does not own message";

/// Longest delay that is honored, 100 years: keeps `Instant` from overflowing.
const MAX_DELAY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[derive(Debug, Default)]
pub(super) struct Channel {
    pub(super) consumers: BTreeMap<u64, Consumer>,
    pub(super) paused: bool,
    pub(super) message_count: u64,
    pub(super) requeue_count: u64,
    pub(super) timeout_count: u64,
    queue: VecDeque<QueuedMessage>,
    in_flight: HashMap<u64, InFlight>,
    /// The messages in flight by the time at which they time out.
    timeouts: BTreeSet<(Instant, u64)>,
    /// The deferred messages by the time at which they are due.
    deferred: BTreeMap<(Instant, u64), QueuedMessage>,
    /// The consumer that took the last message; `wake` notifies it last.
    last_served: u64,
}

/// A channel's own copy of a message.
#[derive(Debug)]
pub(super) struct QueuedMessage {
    id: u64,
    timestamp: i64,
    attempts: u16,
    body: Bytes,
}

#[derive(Debug)]
struct InFlight {
    message: QueuedMessage,
    connection: u64,
    delivered: Instant,
    timeout: Instant,
}

/// A connection that has subscribed to the channel.
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

/// Delivery settings of a connection, from its first IDENTIFY.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeliverySettings {
    pub(super) msg_timeout: Duration,
    pub(super) sample_rate: i64,
}

impl QueuedMessage {
    pub(super) fn new(id: u64, timestamp: i64, body: Bytes) -> Self {
        Self {
            id,
            timestamp,
            attempts: 0,
            body,
        }
    }

    fn write_to(&self, out: &mut Vec<u8>) {
        frame::message(out, self.timestamp, self.attempts, self.id, &self.body);
    }
}

impl Consumer {
    pub(super) fn new(wake: Arc<Notify>) -> Self {
        Self {
            wake,
            ..Self::default()
        }
    }

    /// RDY is the maximum in flight, not a countdown.
    pub(super) fn is_ready(&self) -> bool {
        self.in_flight_count < self.ready_count
    }
}

impl Channel {
    /// Adds a copy of a message. The caller then calls [`wake`](Self::wake), once for all copies.
    pub(super) fn put(&mut self, message: QueuedMessage, defer: Option<Duration>) {
        self.message_count += 1;
        match defer {
            None => self.queue.push_back(message),
            Some(delay) => self.defer(message, delay),
        }
    }

    /// Appends the frames of messages for this consumer: at most as many as it is ready for, at
    /// most its share of the queue, and none once `out` holds `max_bytes`. Returns whether the
    /// consumer is ready for more queued messages.
    pub(super) fn take(
        &mut self,
        connection: u64,
        settings: DeliverySettings,
        max_bytes: usize,
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
            if !consumer.is_ready() || out.len() >= max_bytes {
                break;
            }
            let Some(mut message) = self.queue.pop_front() else {
                break;
            };
            // Off by one like nsqd: a rate of 10 keeps 11 of 100. The others are dropped.
            if settings.sample_rate > 0 && fastrand::i64(0..100) > settings.sample_rate {
                continue;
            }
            message.attempts = message.attempts.wrapping_add(1);
            message.write_to(out);
            consumer.in_flight_count += 1;
            consumer.message_count += 1;
            self.last_served = connection;
            let timeout = add_delay(now, settings.msg_timeout);
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
        self.remove_in_flight(connection, id)?;
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
        let message = self.remove_in_flight(connection, id)?.message;
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

    /// Restarts the timeout, up to `longest` after the delivery.
    pub(super) fn touch(
        &mut self,
        connection: u64,
        id: &[u8],
        timeout: Duration,
        longest: Duration,
    ) -> Result<(), &'static str> {
        let mut in_flight = self.remove_in_flight(connection, id)?;
        let latest = add_delay(in_flight.delivered, longest);
        in_flight.timeout = add_delay(Instant::now(), timeout).min(latest);
        let id = in_flight.message.id;
        self.timeouts.insert((in_flight.timeout, id));
        self.in_flight.insert(id, in_flight);
        Ok(())
    }

    fn remove_in_flight(&mut self, connection: u64, id: &[u8]) -> Result<InFlight, &'static str> {
        let id = message_id(id).ok_or(NOT_IN_FLIGHT)?;
        let owner = self.in_flight.get(&id).map(|message| message.connection);
        if owner.is_some_and(|owner| owner != connection) {
            return Err(NOT_OWNER);
        }
        let in_flight = self.in_flight.remove(&id).ok_or(NOT_IN_FLIGHT)?;
        self.timeouts.remove(&(in_flight.timeout, id));
        Ok(in_flight)
    }

    fn defer(&mut self, message: QueuedMessage, delay: Duration) {
        let due = add_delay(Instant::now(), delay);
        self.deferred.insert((due, message.id), message);
    }

    /// The time of the next timeout or deferred message.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let timeout = self.timeouts.first().map(|(due, _)| *due);
        let deferred = self.deferred.first_key_value().map(|((due, _), _)| *due);
        timeout.into_iter().chain(deferred).min()
    }

    /// Requeues messages that have timed out and queues deferred ones that are due. Returns whether
    /// there were any.
    ///
    /// Messages of a closed connection time out in the same way: nsqd does not requeue them at the
    /// close.
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

    /// Whether the consumer may get more messages.
    pub(super) fn is_ready(&self, connection: u64) -> bool {
        let consumer = self.consumers.get(&connection);
        !self.paused && consumer.is_some_and(Consumer::is_ready)
    }

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
        // Also at a pause: nsqd flushes the output buffers then.
        for consumer in self.consumers.values() {
            consumer.wake.notify_one();
        }
    }

    /// Drops all messages, including those in flight.
    pub(super) fn empty(&mut self) {
        self.queue.clear();
        self.in_flight.clear();
        self.timeouts.clear();
        self.deferred.clear();
        for consumer in self.consumers.values_mut() {
            consumer.in_flight_count = 0;
        }
    }

    /// Moves everything into the queue, as an nsqd that stops writes it to disk: first the queue,
    /// then messages in flight, then deferred ones.
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

    /// Notifies every consumer that is ready, the one served last at the end, so that consumers
    /// take turns.
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

/// Parses a message id: 16 hexadecimal digits in lower case, as this nsqd sends them.
fn message_id(id: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(id).ok()?;
    let is_hex = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    (id.len() == 16 && digits.bytes().all(is_hex))
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

fn add_delay(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay.min(MAX_DELAY)).unwrap_or(now)
}
