//! What the next command carries: one publish, or as many as can be folded into one MPUB.

use std::time::Instant;

use super::{lane::Lane, ledger::Load, slot::Reply};
use crate::protocol::{ServerError, wire_size};

/// A body of more bytes goes by itself: a flush of nsqd saved is nothing beside it.
pub(super) const LARGE: usize = 64 << 10;

/// What may be folded into one MPUB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    pub(crate) messages: usize,
    /// As nsqd counts them against its `max_body_size`.
    pub(crate) bytes: usize,
}

/// By what the next command is bounded.
pub(super) struct Bounds<'a> {
    /// `None`: nothing is folded.
    pub(super) batch: Option<Batch>,
    /// What the window has room for.
    pub(super) room: Load,
    /// Something is in flight, and what does not fit can wait for it.
    pub(super) flying: bool,
    pub(super) named: &'a [ServerError],
    pub(super) now: Instant,
}

/// What was found in a lane, right behind what is in flight.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Picked {
    /// The next command carries so many publishes, and so many bytes of bodies.
    pub(super) load: Load,
    /// So many publishes behind them are not to be handed over at all.
    pub(super) unfit: usize,
    /// There is one to be handed over for which the window has no room.
    pub(super) stuck: bool,
}

/// Picks the publishes of the next command, and moves what is not to be handed over behind them.
///
/// Each publish is looked at once: that a caller goes away a moment later changes nothing.
pub(super) fn pick<R: Reply>(lane: &mut Lane<R>, bounds: &Bounds<'_>) -> Picked {
    let first = lane.sent;
    let most = bounds.batch.map_or(1, |batch| batch.messages);
    let mut picked = Picked::default();
    let mut place = first;
    while let Some(slot) = lane.slots.get(place) {
        let (size, foldable) = (slot.size, !slot.alone);
        if slot.is_unfit(bounds.named, bounds.now) {
            picked.unfit += 1;
            place += 1;
            continue;
        }
        let members = picked.load.publishes;
        if members > 0 && (members >= most || !foldable) {
            break;
        }
        let bytes = picked.load.bytes.saturating_add(size);
        let wire = wire_size(members + 1, bytes);
        if members > 0 && bounds.batch.is_none_or(|batch| wire > batch.bytes) {
            break;
        }
        let fits = members < bounds.room.publishes && bytes <= bounds.room.bytes;
        // One publish may always fly, however large, and beside pings.
        if !fits && (members > 0 || bounds.flying) {
            picked.stuck = members == 0;
            break;
        }
        if place != first + members {
            lane.slots.swap(place, first + members);
        }
        picked.load.add(1, size);
        place += 1;
        if !foldable {
            break;
        }
    }
    picked
}
