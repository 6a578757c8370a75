//! How a connection ended, and what that means for the publishes in flight on it.

use std::collections::VecDeque;

use super::{
    accounting::Accounting,
    blocks::Blocks,
    budget::Budget,
    in_flight::{CommandsInFlight, InFlight},
    parts::Parts,
    pending::Reply,
    topic_queue::TopicQueues,
};
use crate::error::{Cause, PublishError};

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

/// The settlement of what was in flight on a connection.
///
/// Each command goes back into its topic queue, where its publishes are in order again. Those that
/// may be stored fail, unless they are retried. Then the turns of the topics are arranged anew: in
/// the order of the oldest commands, then as before.
#[derive(Debug)]
pub(super) struct Disconnect {
    /// The commands in flight, the oldest first.
    commands: Blocks<InFlight>,
    /// Bytes that the transport has accepted.
    written: u64,
    /// The cause for those that may be stored; `None` if they are retried.
    cause: Option<Cause>,
    outcome: DisconnectOutcome,
    /// The topic queues in the order of their oldest command.
    order: VecDeque<usize>,
    /// Number of queues in `order` whose publishes that may be stored have failed.
    settled: usize,
    /// The topic queues that had a turn before; `None` as long as they have it.
    others: Option<VecDeque<usize>>,
    /// The topic queue whose turn is the last.
    last: Option<usize>,
}

impl Disconnect {
    pub(super) fn new(
        in_flight: &mut CommandsInFlight,
        written: u64,
        cause: Option<Cause>,
        last: Option<usize>,
    ) -> Self {
        Self {
            commands: in_flight.take_all(),
            written,
            cause,
            outcome: DisconnectOutcome::default(),
            order: VecDeque::new(),
            settled: 0,
            others: None,
            last,
        }
    }

    pub(super) fn outcome(&self) -> DisconnectOutcome {
        self.outcome
    }

    /// Goes on as long as the budget allows. Returns whether all is settled.
    pub(super) fn advance<R: Reply>(&mut self, parts: &mut Parts<'_, R>) -> bool {
        let Parts {
            topics,
            accounting,
            budget,
            ..
        } = parts;
        while let Some(command) = self.commands.back() {
            if !budget.allows(command.usage.publishes.max(1)) {
                return false;
            }
            budget.spend(command.usage.publishes.max(1));
            if let Some(command) = self
                .commands
                .pop_back()
                .filter(|command| !command.is_ping())
            {
                self.take_back(command, topics, accounting);
            }
        }
        while let Some(index) = self.order.get(self.settled) {
            let is_settled = self.fail_maybe_written(*index, topics, accounting, budget);
            if !is_settled || budget.is_exhausted() {
                return false;
            }
            budget.spend(1);
            self.settled += 1;
        }
        let others = self.others.get_or_insert_with(|| topics.rearrange_turns());
        while let Some(index) = self.order.pop_front().or_else(|| others.pop_front()) {
            if Some(index) != self.last {
                topics.make_ready(index);
            }
            budget.spend(1);
            if budget.is_exhausted() {
                return false;
            }
        }
        if let Some(last) = self.last {
            topics.make_ready(last);
        }
        true
    }

    /// Takes the youngest command back into its topic queue.
    fn take_back<R: Reply>(
        &mut self,
        command: InFlight,
        topics: &mut TopicQueues<R>,
        accounting: &mut Accounting,
    ) {
        let Some(queue) = topics.get_mut(command.topic_queue) else {
            return;
        };
        let is_written = command.end <= self.written;
        for _ in 0..command.usage.publishes {
            let Some(publish) = queue.take_back_youngest() else {
                return;
            };
            if publish.reply.is_none() {
                accounting.release_one(publish);
                queue.remove_next();
                continue;
            }
            publish.maybe_written |= is_written;
            self.outcome.maybe_written += usize::from(is_written);
            self.outcome.requeued += usize::from(!is_written || self.cause.is_none());
        }
        self.order.push_front(command.topic_queue);
    }

    /// Answers the publishes at the front of a queue that may be stored. Returns whether the budget
    /// was sufficient.
    fn fail_maybe_written<R: Reply>(
        &self,
        index: usize,
        topics: &mut TopicQueues<R>,
        accounting: &mut Accounting,
        budget: &mut Budget,
    ) -> bool {
        let (Some(cause), Some(queue)) = (&self.cause, topics.get_mut(index)) else {
            return true;
        };
        while queue.next().is_some_and(|publish| publish.maybe_written) {
            if budget.is_exhausted() {
                return false;
            }
            budget.spend(1);
            if let Some(mut publish) = queue.remove_next() {
                let error = PublishError::new(cause.clone(), publish.ambiguous());
                accounting.answer(&mut publish, Err(error));
                accounting.release_one(&publish);
            }
        }
        topics.free_if_empty(index);
        true
    }
}
