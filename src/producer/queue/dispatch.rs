//! The next command: whose turn it is, and its way from the lane into the connection's stream of commands.

use std::{mem, time::Instant};

use super::{
    Batch, InFlight, TransactionQueue,
    batching::{Bounds, Selection, select_batch},
    limits::Usage,
    pending::Reply,
};
use crate::protocol::{Command, ErrorCode, Outbox, ServerError, put_batch, wire_size};

impl<R: Reply> TransactionQueue<R> {
    /// Encodes the next command into `out`, if one waits and the window has room for it. `ping` is the body of the
    /// IDENTIFY that asks for nothing but an answer.
    ///
    /// `out` must be the connection's only one: a command is known by where its last byte is in all that went through.
    pub(crate) fn next_command(&mut self, ping: &[u8], out: &mut Outbox, now: Instant) -> bool {
        if self.pings.send() {
            Command::Identify(ping).encode(out);
            self.launch(0, Usage::default(), out, now);
            return true;
        }
        let mut turns = self.topics.turns();
        while turns > 0
            && self.may_send_more()
            && let Some(topic_queue) = self.topics.turn()
        {
            turns -= 1;
            let batch = self.batching(topic_queue);
            if batch.is_some() && self.piles_up(topic_queue) {
                self.topics.list(topic_queue);
                continue;
            }
            let Selection {
                load,
                undeliverable,
                blocked,
            } = self.select_batch(topic_queue, batch, now);
            if load.publishes > 0 {
                self.encode(topic_queue, load, out);
                self.launch(topic_queue, load, out, now);
            }
            if blocked {
                // Before any that is accepted now has its lane stand at the end of the line.
                self.topics.keep_turn(topic_queue);
            }
            if undeliverable > 0 {
                self.remove_undeliverable(topic_queue, undeliverable);
                // What left made room for those who wait, and who may be unfit in turn.
                turns = self.topics.turns() + 1;
            }
            if blocked {
                return false;
            }
            self.topics.list(topic_queue);
            if load.publishes > 0 {
                return true;
            }
        }
        false
    }

    /// Whether another command may be in flight.
    fn may_send_more(&self) -> bool {
        let commands = self.in_flight.len().saturating_sub(self.pings.in_flight());
        self.batch.is_none()
            || (commands < self.limit.commands()
                && self.in_flight_load.publishes < self.limit.publishes())
    }

    /// Whether what can be folded of a lane is to become more before it leaves, since enough of it is in flight.
    fn piles_up(&mut self, topic_queue: usize) -> bool {
        self.topics.get_mut(topic_queue).is_some_and(|topic_queue| {
            let next = topic_queue.pending.get(topic_queue.sent);
            // As much as a command in flight has on average, and so never more than a batch may have.
            let enough = topic_queue.sent / self.limit.commands();
            next.is_some_and(|publish| !publish.no_batch) && topic_queue.pile() < enough
        })
    }

    /// What may be folded of a lane now, if anything.
    fn batching(&mut self, topic_queue: usize) -> Option<Batch> {
        let batching_suspended = self.batching_suspended
            || self
                .topics
                .get_mut(topic_queue)
                .is_none_or(|topic_queue| topic_queue.batching_suspended);
        let mut batch = self.batch.filter(|_| !batching_suspended)?;
        let server_limits = self
            .server_limits
            .iter()
            .filter(|server_limits| server_limits.code() == ErrorCode::BadBody);
        let limits = server_limits.filter_map(ServerError::named_limit);
        let limits =
            limits.map(|server_limits| usize::try_from(server_limits.limit).unwrap_or(usize::MAX));
        batch.bytes = limits.fold(batch.bytes, usize::min);
        Some(batch)
    }

    fn select_batch(
        &mut self,
        topic_queue: usize,
        batch: Option<Batch>,
        now: Instant,
    ) -> Selection {
        let mut room = self.window;
        room.remove(self.in_flight_load.publishes, self.in_flight_load.bytes);
        let bounds = Bounds {
            batch,
            room,
            any_in_flight: self.in_flight_load.publishes > 0,
            server_limits: &self.server_limits,
            now,
        };
        let topic_queue = self.topics.get_mut(topic_queue);
        topic_queue.map_or_else(Selection::default, |topic_queue| {
            select_batch(topic_queue, &bounds)
        })
    }

    /// Encodes the next publishes of a lane as one command.
    fn encode(&mut self, topic_queue: usize, load: Usage, out: &mut Outbox) {
        let Some(topic_queue) = self.topics.get_mut(topic_queue) else {
            return;
        };
        let members = topic_queue
            .pending
            .range(topic_queue.sent..topic_queue.sent + load.publishes);
        if load.publishes > 1
            && let Some(first) = members.clone().next()
        {
            let bodies = members.flat_map(|publish| publish.payload.bodies());
            let size = wire_size(load.publishes, load.bytes);
            put_batch(&first.topic, load.publishes, size, bodies, out);
            self.accounting.counters.batches += 1;
            self.accounting.counters.batched += load.publishes as u64;
        } else {
            for publish in members {
                publish.payload.encode(&publish.topic, out);
            }
        }
        for publish in topic_queue
            .pending
            .range_mut(topic_queue.sent..topic_queue.sent + load.publishes)
        {
            self.accounting.counters.requeued += u64::from(mem::replace(&mut publish.again, true));
        }
        topic_queue.sent += load.publishes;
        self.accounting.counters.commands += 1;
    }

    /// The command encoded last is in flight.
    fn launch(&mut self, topic_queue: usize, load: Usage, out: &Outbox, since: Instant) {
        let end = out.total();
        self.in_flight_load.add(load.publishes, load.bytes);
        self.in_flight.push_back(InFlight {
            topic_queue,
            load,
            end,
            since,
        });
    }
}
