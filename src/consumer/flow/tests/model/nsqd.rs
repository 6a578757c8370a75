//! A simulated nsqd with one channel: what it delivers, requeues and counts.

use std::collections::{BTreeMap, VecDeque};

/// A command of the consumer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Command {
    Rdy(u32),
    Fin(usize),
    /// With its delay.
    Req(usize, u64),
    Cls,
}

/// A delivery of a message. Each has another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) nsqd: usize,
    pub(super) serial: u32,
    pub(super) message: usize,
    pub(super) number: usize,
}

#[derive(Debug, Clone, Copy)]
struct InFlight {
    serial: u32,
    number: usize,
}

/// nsqd's side of a connection.
#[derive(Debug)]
struct Client {
    rdy: u32,
    in_flight: u32,
    /// The message pump checked RDY before it was lowered: it may send one more until this time.
    pump_checked_until: u64,
    /// The consumer has sent CLS.
    is_left: bool,
}

#[derive(Debug, Default)]
pub(super) struct Nsqd {
    queue: VecDeque<usize>,
    in_flight: BTreeMap<usize, InFlight>,
    client: Option<Client>,
    /// Number of the latest connection.
    pub(super) serial: u32,
    /// When the last frame and the last command arrive.
    pub(super) last_frame: u64,
    pub(super) last_command: u64,
    /// Since when messages wait while a consumer is connected.
    pub(super) waits_since: Option<u64>,
}

impl Nsqd {
    pub(super) fn connect(&mut self, now: u64) {
        self.serial += 1;
        self.client = Some(Client {
            rdy: 0,
            in_flight: 0,
            pump_checked_until: 0,
            is_left: false,
        });
        (self.last_frame, self.last_command) = (now, now);
        self.update_wait(now, true);
    }

    /// Messages in flight stay in flight until they time out.
    pub(super) fn disconnect(&mut self) {
        self.client = None;
        self.waits_since = None;
    }

    pub(super) fn is_connected(&self, serial: u32) -> bool {
        self.client.is_some() && self.serial == serial
    }

    pub(super) fn push(&mut self, message: usize) {
        self.queue.push_back(message);
    }

    pub(super) fn in_flight_of(&self, serial: u32) -> impl Iterator<Item = usize> {
        let of_connection = self
            .in_flight
            .values()
            .filter(move |it| it.serial == serial);
        of_connection.map(|it| it.number)
    }

    /// Delivers the next message if RDY allows it.
    pub(super) fn deliver(&mut self, number: usize, now: u64) -> Option<usize> {
        let message = self.next(now).and_then(|()| self.queue.pop_front());
        if let Some(message) = message {
            let serial = self.serial;
            self.in_flight.insert(message, InFlight { serial, number });
            if let Some(client) = &mut self.client {
                client.in_flight += 1;
            }
        }
        self.update_wait(now, message.is_some());
        message
    }

    fn next(&mut self, now: u64) -> Option<()> {
        let client = self.client.as_mut()?;
        if self.queue.is_empty() {
            return None;
        }
        if client.in_flight >= client.rdy {
            if now >= client.pump_checked_until {
                return None;
            }
            client.pump_checked_until = 0;
        }
        Some(())
    }

    pub(super) fn update_wait(&mut self, now: u64, is_new: bool) {
        let is_asked = self.client.as_ref().is_some_and(|it| !it.is_left);
        let waits = is_asked && !self.queue.is_empty();
        let since = self.waits_since.filter(|_| !is_new).unwrap_or(now);
        self.waits_since = waits.then_some(since);
    }

    /// `pump_lag`: how much later the message pump reads a lower RDY.
    pub(super) fn set_rdy(&mut self, rdy: u32, pump_lag: u64, now: u64) {
        if let Some(client) = &mut self.client {
            if client.in_flight < client.rdy && rdy < client.rdy {
                client.pump_checked_until = now + pump_lag;
            }
            client.rdy = rdy;
        }
    }

    pub(super) fn leave(&mut self, pump_lag: u64, now: u64) {
        self.set_rdy(0, pump_lag, now);
        if let Some(client) = &mut self.client {
            client.is_left = true;
        }
    }

    /// Ends a message in flight on the connection: FIN or REQ. Returns the number of its delivery.
    pub(super) fn answer(&mut self, message: usize) -> Option<usize> {
        let serial = self.serial;
        let client = self.client.as_mut()?;
        let in_flight = self.in_flight.get(&message).copied();
        let number = in_flight.filter(|it| it.serial == serial)?.number;
        client.in_flight -= 1;
        self.in_flight.remove(&message);
        Some(number)
    }

    /// Requeues the message if this delivery is still in flight. Returns whether it was.
    pub(super) fn time_out(&mut self, delivery: Delivery) -> bool {
        let in_flight = self.in_flight.get(&delivery.message);
        if in_flight.is_none_or(|it| it.number != delivery.number) {
            return false;
        }
        self.in_flight.remove(&delivery.message);
        if let Some(client) = self
            .client
            .as_mut()
            .filter(|_| self.serial == delivery.serial)
        {
            client.in_flight -= 1;
        }
        self.queue.push_back(delivery.message);
        true
    }
}
