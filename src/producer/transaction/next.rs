//! The next command: whose turn it is, and its way from the lane into the connection's stream of commands.

use std::{mem, time::Instant};

use super::{
    Batch, TransactionQueue, Window,
    fold::{Bounds, Picked, pick},
    ledger::Load,
    slot::Reply,
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
            self.launch(0, Load::default(), out, now);
            return true;
        }
        let mut turns = self.lanes.turns();
        while turns > 0
            && self.has_pace()
            && let Some(lane) = self.lanes.turn()
        {
            turns -= 1;
            let batch = self.folding(lane);
            if batch.is_some() && self.piles_up(lane) {
                self.lanes.list(lane);
                continue;
            }
            let Picked { load, unfit, stuck } = self.pick(lane, batch, now);
            if load.publishes > 0 {
                self.encode(lane, load, out);
                self.launch(lane, load, out, now);
            }
            if stuck {
                // Before any that is accepted now has its lane stand at the end of the line.
                self.lanes.keep_turn(lane);
            }
            if unfit > 0 {
                self.let_go(lane, unfit);
                // What left made room for those who wait, and who may be unfit in turn.
                turns = self.lanes.turns() + 1;
            }
            if stuck {
                return false;
            }
            self.lanes.list(lane);
            if load.publishes > 0 {
                return true;
            }
        }
        false
    }

    /// Whether another command may be in flight.
    fn has_pace(&self) -> bool {
        let commands = self.flight.len().saturating_sub(self.pings.in_flight());
        self.batch.is_none()
            || (commands < self.pace.commands() && self.flying.publishes < self.pace.publishes())
    }

    /// Whether what can be folded of a lane is to become more before it leaves, since enough of it is in flight.
    fn piles_up(&mut self, lane: usize) -> bool {
        self.lanes.get_mut(lane).is_some_and(|lane| {
            let next = lane.slots.get(lane.sent);
            // As much as a command in flight has on average, and so never more than a batch may have.
            let enough = lane.sent / self.pace.commands();
            next.is_some_and(|slot| !slot.alone) && lane.pile() < enough
        })
    }

    /// What may be folded of a lane now, if anything.
    fn folding(&mut self, lane: usize) -> Option<Batch> {
        let careful = self.careful || self.lanes.get_mut(lane).is_none_or(|lane| lane.careful);
        let mut batch = self.batch.filter(|_| !careful)?;
        let named = self
            .named
            .iter()
            .filter(|named| named.code() == ErrorCode::BadBody);
        let limits = named.filter_map(ServerError::named_limit);
        let limits = limits.map(|named| usize::try_from(named.limit).unwrap_or(usize::MAX));
        batch.bytes = limits.fold(batch.bytes, usize::min);
        Some(batch)
    }

    fn pick(&mut self, lane: usize, batch: Option<Batch>, now: Instant) -> Picked {
        let mut room = self.window;
        room.remove(self.flying.publishes, self.flying.bytes);
        let bounds = Bounds {
            batch,
            room,
            flying: self.flying.publishes > 0,
            named: &self.named,
            now,
        };
        let lane = self.lanes.get_mut(lane);
        lane.map_or_else(Picked::default, |lane| pick(lane, &bounds))
    }

    /// Encodes the next publishes of a lane as one command.
    fn encode(&mut self, lane: usize, load: Load, out: &mut Outbox) {
        let Some(lane) = self.lanes.get_mut(lane) else {
            return;
        };
        let members = lane.slots.range(lane.sent..lane.sent + load.publishes);
        if load.publishes > 1
            && let Some(first) = members.clone().next()
        {
            let bodies = members.flat_map(|slot| slot.payload.bodies());
            let size = wire_size(load.publishes, load.bytes);
            put_batch(&first.topic, load.publishes, size, bodies, out);
            self.ledger.tally.batches += 1;
            self.ledger.tally.batched += load.publishes as u64;
        } else {
            for slot in members {
                slot.payload.encode(&slot.topic, out);
            }
        }
        for slot in lane.slots.range_mut(lane.sent..lane.sent + load.publishes) {
            self.ledger.tally.resent += u64::from(mem::replace(&mut slot.again, true));
        }
        lane.sent += load.publishes;
        self.ledger.tally.commands += 1;
    }

    /// The command encoded last is in flight.
    fn launch(&mut self, lane: usize, load: Load, out: &Outbox, since: Instant) {
        let end = out.total();
        self.flying.add(load.publishes, load.bytes);
        self.flight.push_back(Window {
            lane,
            load,
            end,
            since,
        });
    }
}
