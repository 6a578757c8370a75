//! How a connection ended, and what that means for the publishes in flight on it.

use std::collections::VecDeque;

use super::{in_flight::CommandsInFlight, pending::Reply, topic_queue::TopicQueues};
use crate::error::Cause;

/// How a connection ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ConnectionEnd<'a> {
    /// With an error response. nsqd executes nothing behind the rejected command.
    Rejected,
    /// Without one. `written` is the final number of bytes that the transport accepted.
    Lost { written: u64, cause: &'a Cause },
}

/// What became of the publishes in flight on a connection that ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DisconnectOutcome {
    /// Not executed, so they are retried; with `retry_maybe_written` also those that may be stored.
    pub(crate) requeued: usize,
    /// May be stored.
    pub(crate) maybe_written: usize,
}

/// Takes all commands in flight back into their topic queues, where their publishes are still in
/// order, and marks those that were completely written.
///
/// Returns the topic queues as well, in the order of their oldest command.
pub(super) fn take_back<R: Reply>(
    in_flight: &mut CommandsInFlight,
    topics: &mut TopicQueues<R>,
    written: u64,
    retry_maybe_written: bool,
) -> (DisconnectOutcome, VecDeque<usize>) {
    let mut outcome = DisconnectOutcome::default();
    let mut order = VecDeque::new();
    for command in in_flight.take_all().into_iter().rev() {
        if command.is_ping() {
            continue;
        }
        let Some(queue) = topics.get_mut(command.topic_queue) else {
            continue;
        };
        let is_written = command.end <= written;
        let members = queue.take_back(command.usage.publishes);
        for publish in members.filter(|publish| publish.reply.is_some()) {
            publish.maybe_written |= is_written;
            outcome.maybe_written += usize::from(is_written);
            outcome.requeued += usize::from(!is_written || retry_maybe_written);
        }
        order.push_front(command.topic_queue);
    }
    (outcome, order)
}
