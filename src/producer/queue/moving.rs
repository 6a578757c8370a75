//! Publishes that move between the queues of a pool: from the pool's own queue to those of its
//! members, and back.

use std::time::Instant;

use super::{
    limits::Usage,
    parts::Parts,
    pending::{Pending, Reply},
    pooled::Moving,
    server_limits::ServerLimits,
    topic_queue::TopicQueue,
};
use crate::{
    error::{Cause, PublishError},
    protocol::ServerError,
};

/// What a pool does with a publish.
pub(crate) enum Routed {
    /// It goes to the member at this slot, and so do the next ones of its topic up to `further`.
    To { slot: usize, further: Usage },
    /// It stays in the queue, and so do those behind it of its topic.
    Stays,
    /// Every member that is up has rejected it.
    Rejected(ServerError),
}

/// Chooses the members to which publishes go.
pub(crate) trait Route<R: Reply> {
    /// Decides about a publish, the first of `queued` of its topic.
    fn route(&mut self, publish: &Pending<R>, queued: usize) -> Routed;

    /// Returns where the publishes of a member go. `further` of them were not routed one by one.
    fn outgoing(&mut self, slot: usize, further: Usage) -> Option<&mut Moving<R>>;
}

/// What happens to the next publishes of a queue.
enum Plan {
    /// They go to a member.
    Move {
        slot: usize,
        usage: Usage,
        first: Usage,
    },
    /// The next one is answered.
    Answer(Cause),
    /// All stay.
    Stop,
}

/// Decides about the next publishes of a queue, at most `left` of them.
fn plan<R: Reply>(
    queue: &mut TopicQueue<R>,
    router: &mut impl Route<R>,
    server_limits: &ServerLimits,
    left: usize,
    now: Instant,
) -> Plan {
    let queued = queue.unsent();
    let mut unsent = queue.all_unsent().take(left);
    let Some(first) = unsent.next() else {
        return Plan::Stop;
    };
    if let Some(cause) = first.obstacle(server_limits, now) {
        return Plan::Answer(cause);
    }
    let (slot, further) = match router.route(first, queued) {
        Routed::To { slot, further } => (slot, further),
        Routed::Stays => return Plan::Stop,
        Routed::Rejected(error) => return Plan::Answer(Cause::Rejected(error)),
    };
    let first = first.usage();
    let mut usage = first;
    let limit = first.plus(further);
    for publish in unsent {
        let together = usage.plus(publish.usage());
        let goes_along = publish.tried.is_none() && together.fits(limit);
        if !goes_along || publish.obstacle(server_limits, now).is_some() {
            break;
        }
        usage = together;
    }
    Plan::Move { slot, usage, first }
}

/// A pass that removes all queued publishes from the queue of a pool's member.
#[derive(Debug, Default)]
pub(super) struct GiveBack {
    /// Number of topic queues that are visited.
    visited: usize,
}

impl GiveBack {
    /// Removes publishes as long as the budget allows. Returns whether all are removed.
    pub(super) fn advance<R: Reply>(&mut self, parts: &mut Parts<'_, R>) -> bool {
        let Some(pooled) = parts.pooled else {
            return true;
        };
        while let Some(queue) = parts.topics.get_mut(self.visited) {
            if parts.budget.is_exhausted() {
                return false;
            }
            parts.budget.spend(1);
            if let Some(publish) = queue.remove_next() {
                parts.accounting.give_away(publish.usage());
                pooled.given_back.push(publish);
            } else {
                parts.topics.free_if_empty(self.visited);
                self.visited += 1;
            }
        }
        true
    }
}

/// Adds publishes of another queue. One that was given back, or is older than others here, precedes
/// everything younger of its topic that is not in flight. Returns the memory of the list.
pub(super) fn take_in<R: Reply>(
    mut publishes: Moving<R>,
    parts: &mut Parts<'_, R>,
    has_work: bool,
) -> Moving<R> {
    let mut usage = Usage::default();
    for publish in &publishes.0 {
        usage.add(publish.usage());
        parts.expiry.add(publish.deadline);
    }
    let mut rest = publishes.0.drain(..);
    while let Some(first) = rest.as_slice().first() {
        let is_older = first.tried.is_some() || parts.topics.has_younger(first);
        // A job may be at work on what is queued.
        let goes_last = has_work || !is_older;
        let of_topic = rest.as_slice().iter().take_while(|publish| {
            publish.topic == first.topic && (goes_last || publish.tried.is_some())
        });
        let count = of_topic.count().max(1);
        let topic = first.topic.clone();
        if goes_last {
            parts.topics.push_each(&topic, rest.by_ref().take(count));
        } else {
            let older = rest.by_ref().take(count).collect();
            parts.topics.insert(&topic, older);
        }
    }
    drop(rest);
    parts.budget.spend(usage.publishes);
    parts.accounting.take_in(usage);
    publishes
}

/// Passes queued publishes on to the members of a pool, as far as the budget allows. Those that
/// will not be sent are answered.
pub(super) fn pass_on<R: Reply>(
    router: &mut impl Route<R>,
    parts: &mut Parts<'_, R>,
    now: Instant,
) {
    for _ in 0..parts.topics.with_turn() {
        let Some(index) = parts.topics.take_turn() else {
            return;
        };
        let Some(queue) = parts.topics.get_mut(index) else {
            continue;
        };
        while !parts.budget.is_exhausted() {
            let left = parts.budget.left();
            match plan(queue, router, parts.server_limits, left, now) {
                Plan::Move { slot, usage, first } => {
                    let Some(outgoing) = router.outgoing(slot, usage.minus(first)) else {
                        break;
                    };
                    queue.take_unsent(usage.publishes, &mut outgoing.0);
                    parts.budget.spend(usage.publishes);
                    parts.accounting.give_away(usage);
                }
                Plan::Answer(cause) => {
                    parts.budget.spend(1);
                    if let Some(mut publish) = queue.remove_next() {
                        let error = PublishError::new(cause, publish.not_written());
                        parts.accounting.answer(&mut publish, Err(error));
                        parts.accounting.release_one(&publish);
                    }
                }
                Plan::Stop => break,
            }
        }
        parts.topics.make_ready(index);
        parts.topics.free_if_empty(index);
    }
}
