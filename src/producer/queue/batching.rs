//! What the next command carries: one publish, or as many as can be folded into one MPUB.

use std::time::Instant;

use super::{
    limits::{Batch, Usage},
    pending::Reply,
    topic_queue::TopicQueue,
};
use crate::protocol::{ServerError, wire_size};

/// By what the next command is bounded.
pub(super) struct Bounds<'a> {
    /// `None`: nothing is folded.
    pub(super) batch: Option<Batch>,
    /// What the window has room for.
    pub(super) room: Usage,
    /// Something is in flight, and what does not fit can wait for it.
    pub(super) any_in_flight: bool,
    pub(super) server_limits: &'a [ServerError],
    pub(super) now: Instant,
}

/// What was found in a lane, right behind what is in flight.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    /// The next command carries so many publishes, and so many bytes of bodies.
    pub(super) load: Usage,
    /// So many publishes behind them are not to be handed over at all.
    pub(super) undeliverable: usize,
    /// There is one to be handed over for which the window has no room.
    pub(super) blocked: bool,
}

/// Picks the publishes of the next command, and moves what is not to be handed over behind them.
///
/// Each publish is looked at once: that a caller goes away a moment later changes nothing.
pub(super) fn select_batch<R: Reply>(
    topic_queue: &mut TopicQueue<R>,
    bounds: &Bounds<'_>,
) -> Selection {
    let first = topic_queue.sent;
    let most = bounds.batch.map_or(1, |batch| batch.messages);
    let mut selection = Selection::default();
    let mut index = first;
    while let Some(publish) = topic_queue.pending.get(index) {
        let (size, can_batch) = (publish.size, !publish.no_batch);
        if publish.is_undeliverable(bounds.server_limits, bounds.now) {
            selection.undeliverable += 1;
            index += 1;
            continue;
        }
        let members = selection.load.publishes;
        if members > 0 && (members >= most || !can_batch) {
            break;
        }
        let bytes = selection.load.bytes.saturating_add(size);
        let wire = wire_size(members + 1, bytes);
        if members > 0 && bounds.batch.is_none_or(|batch| wire > batch.bytes) {
            break;
        }
        let fits = members < bounds.room.publishes && bytes <= bounds.room.bytes;
        // One publish may always fly, however large, and beside pings.
        if !fits && (members > 0 || bounds.any_in_flight) {
            selection.blocked = members == 0;
            break;
        }
        if index != first + members {
            topic_queue.pending.swap(index, first + members);
        }
        selection.load.add(1, size);
        index += 1;
        if !can_batch {
            break;
        }
    }
    selection
}
