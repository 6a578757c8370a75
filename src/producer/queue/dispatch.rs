//! The next command of a topic queue: which publishes it carries, and its encoding.

use std::{mem, time::Instant};

use super::{
    accounting::Accounting,
    budget::Budget,
    in_flight_limit::InFlightLimit,
    limits::{Batch, Usage},
    pending::Reply,
    server_limits::ServerLimits,
    topic_queue::TopicQueue,
};
use crate::{
    error::PublishError,
    protocol::{Outbox, put_batch, wire_size},
};

/// What limits the next command.
pub(super) struct Bounds<'a> {
    /// `None`: the command carries one publish.
    pub(super) batch: Option<Batch>,
    /// What the window allows.
    pub(super) capacity: Usage,
    /// Publishes are in flight, whose responses will make capacity.
    pub(super) any_in_flight: bool,
    pub(super) server_limits: &'a ServerLimits,
    pub(super) now: Instant,
}

/// Returns whether a queue may be held back in order to send larger batches: its topic is in
/// flight, and its next publish can be batched.
pub(super) fn may_be_held_back<R>(queue: &mut TopicQueue<R>) -> bool {
    queue.in_flight() > 0 && queue.next().is_some_and(|next| !next.no_batch)
}

/// Returns whether the next batch of a queue waits for more publishes, because enough of its topic
/// is in flight.
pub(super) fn waits_for_more<R>(queue: &mut TopicQueue<R>, limit: &InFlightLimit) -> bool {
    queue.unsent() < limit.batch_from(queue.in_flight())
}

/// The publishes selected for the next command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    /// The command carries these publishes, which are in flight now.
    pub(super) usage: Usage,
    /// This many of them had been sent before.
    pub(super) requeued: usize,
    /// Publishes were answered and discarded, because they cannot be sent.
    pub(super) has_discarded: bool,
    /// The next publish exceeds the window.
    pub(super) blocked: bool,
}

/// Selects the publishes of the next command.
///
/// Cancelled, expired and undeliverable ones are answered and discarded. Each publish is checked
/// once, so a caller that cancels meanwhile does not change the selection. It ends where the budget
/// does.
pub(super) fn select_batch<R: Reply>(
    queue: &mut TopicQueue<R>,
    bounds: &Bounds<'_>,
    accounting: &mut Accounting,
    budget: &mut Budget,
) -> Selection {
    let max_messages = bounds.batch.map_or(1, |batch| batch.messages);
    let mut selection = Selection::default();
    while !budget.is_exhausted()
        && let Some(publish) = queue.next()
    {
        if let Some(cause) = publish.obstacle(bounds.server_limits, bounds.now) {
            let error = PublishError::new(cause, publish.not_written());
            accounting.answer(publish, Err(error));
            accounting.release_one(publish);
            budget.spend(1);
            queue.remove_next();
            selection.has_discarded = true;
            continue;
        }
        let (size, can_batch) = (publish.size, !publish.no_batch);
        let members = selection.usage.publishes;
        if members > 0 && (members >= max_messages || !can_batch) {
            break;
        }
        let usage = selection.usage.plus(Usage::one(size));
        let wire = wire_size(usage.publishes, usage.bytes);
        if members > 0 && bounds.batch.is_none_or(|batch| wire > batch.bytes) {
            break;
        }
        // One publish is always allowed, however large, also beside pings.
        if !usage.fits(bounds.capacity) && (members > 0 || bounds.any_in_flight) {
            selection.blocked = members == 0;
            break;
        }
        selection.usage = usage;
        selection.requeued += usize::from(mem::replace(&mut publish.retried, true));
        budget.spend(1);
        queue.send_next();
        if !can_batch {
            break;
        }
    }
    selection
}

/// Encodes the command of the selected publishes.
pub(super) fn encode<R>(queue: &TopicQueue<R>, usage: Usage, out: &mut Outbox) {
    let Usage { publishes, bytes } = usage;
    let Some(last) = queue.youngest_one() else {
        return;
    };
    if publishes == 1 {
        last.payload.encode(&last.topic, out);
    } else {
        let members = queue.youngest(publishes);
        let bodies = members.flat_map(|publish| publish.payload.bodies());
        let size = wire_size(publishes, bytes);
        put_batch(&last.topic, publishes, size, bodies, out);
    }
}
