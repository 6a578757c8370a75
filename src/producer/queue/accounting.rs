//! What the queue holds, how it answered, and how long that took.

use std::time::Instant;

use super::{
    latency::Latency,
    limits::Usage,
    pending::{Pending, Reply},
    topic_limit::TopicLimit,
};
use crate::{
    error::{Cause, Delivery, ErrorKind, PublishError},
    protocol::Topic,
};

/// Numbers of publishes and commands since the queue was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Accepted, or rejected by the queue.
    pub(crate) published: u64,
    pub(crate) ok: u64,
    pub(crate) not_written: u64,
    pub(crate) maybe_written: u64,
    pub(crate) maybe_partial: u64,
    /// Of `not_written`: rejected because the queue was full.
    pub(crate) rejected_full: u64,
    /// Of all that failed: timed out.
    pub(crate) timed_out: u64,
    /// Sent again after a connection that did not execute them.
    pub(crate) requeued: u64,
    /// Commands sent that publish.
    pub(crate) commands: u64,
    /// Of `commands`: automatic batches.
    pub(crate) batches: u64,
    /// Publishes in automatic batches.
    pub(crate) batched: u64,
}

impl Counters {
    fn count(&mut self, answer: &Result<(), PublishError>) {
        let Err(error) = answer else {
            self.ok += 1;
            return;
        };
        match error.delivery() {
            Delivery::NotWritten => self.not_written += 1,
            Delivery::MaybeWritten => self.maybe_written += 1,
            Delivery::MaybePartial => self.maybe_partial += 1,
        }
        match error.kind() {
            ErrorKind::Full => self.rejected_full += 1,
            ErrorKind::Timeout => self.timed_out += 1,
            _ => {}
        }
    }
}

/// The capacity of the queue, and the only place that answers publishes.
pub(super) struct Accounting {
    limit: Usage,
    /// `None`: a topic has no limit of its own.
    topics: Option<TopicLimit>,
    /// From the acceptance of a publish until its entry leaves, which may be after its answer.
    pub(super) held: Usage,
    pub(super) unanswered: usize,
    pub(super) counters: Counters,
    pub(super) latency: Latency,
    /// Publishes confirmed that were accepted at the same time, and are recorded together.
    confirmed: Option<(Instant, u64)>,
}

impl Accounting {
    pub(super) fn new(limit: Usage, per_topic: Option<usize>) -> Self {
        Self {
            limit,
            topics: per_topic.map(TopicLimit::new),
            held: Usage::default(),
            unanswered: 0,
            counters: Counters::default(),
            latency: Latency::default(),
            confirmed: None,
        }
    }

    /// Returns whether `usage` can be accepted now.
    pub(super) fn has_capacity(&self, usage: Usage) -> bool {
        self.held.plus(usage).fits(self.limit)
    }

    /// Returns whether a topic has as many publishes as it may have.
    pub(super) fn is_topic_full(&self, topic: &Topic) -> bool {
        let topics = self.topics.as_ref();
        topics.is_some_and(|topics| topics.held(topic) >= topics.limit())
    }

    /// Sets whether topics that have capacity again are noted from now on.
    pub(super) fn note_freed_topics(&mut self, is_noted: bool) {
        if let Some(topics) = &mut self.topics {
            topics.notes_freed = is_noted;
        }
    }

    /// Returns the topics that were full and have capacity again, since the last call.
    pub(super) fn take_freed_topics(&mut self) -> Vec<Topic> {
        let topics = self.topics.as_mut();
        topics.map(TopicLimit::take_freed).unwrap_or_default()
    }

    /// Returns whether `usage` could be accepted by an empty queue.
    pub(super) fn may_fit(&self, usage: Usage) -> bool {
        usage.fits(self.limit)
    }

    /// The cause if `usage` exceeds the capacity.
    pub(super) fn full_cause(&self, topic: &Topic, usage: Usage) -> Cause {
        let Self { limit, held, .. } = self;
        if let Some(topics) = &self.topics
            && self.is_topic_full(topic)
        {
            return Cause::Full {
                option: "max_pending_per_topic",
                unit: "publishes of the topic",
                held: topics.held(topic),
                size: 1,
                limit: topics.limit(),
            };
        }
        if held.plus(usage).publishes > limit.publishes {
            Cause::Full {
                option: "max_pending",
                unit: "publishes",
                held: held.publishes,
                size: usage.publishes,
                limit: limit.publishes,
            }
        } else {
            Cause::Full {
                option: "max_pending_bytes",
                unit: "bytes",
                held: held.bytes,
                size: usage.bytes,
                limit: limit.bytes,
            }
        }
    }

    /// A publish was accepted.
    pub(super) fn accept<R>(&mut self, publish: &Pending<R>) {
        self.held.add(publish.usage());
        self.unanswered += 1;
        self.counters.published += 1;
        if let Some(topics) = &mut self.topics {
            topics.accept(&publish.topic);
        }
    }

    /// The entry of a publish leaves the queue.
    pub(super) fn release<R>(&mut self, publish: &Pending<R>) {
        self.held.remove(publish.usage());
        if let Some(topics) = &mut self.topics {
            topics.release(&publish.topic);
        }
    }

    /// A command with this many publishes was sent, of which `requeued` had been sent before.
    pub(super) fn command_sent(&mut self, publishes: usize, requeued: usize) {
        self.counters.commands += 1;
        self.counters.requeued += requeued as u64;
        if publishes > 1 {
            self.counters.batches += 1;
            self.counters.batched += publishes as u64;
        }
    }

    /// Answers an accepted publish, unless it is answered already.
    pub(super) fn answer<R: Reply>(
        &mut self,
        publish: &mut Pending<R>,
        answer: Result<(), PublishError>,
    ) {
        if let Some(reply) = publish.reply.take() {
            self.unanswered = self.unanswered.saturating_sub(1);
            self.reply(reply, answer);
        }
    }

    /// Answers an accepted publish with `Ok`, unless it is answered already.
    /// [`record_latency`](Self::record_latency) must follow.
    pub(super) fn confirm<R: Reply>(&mut self, publish: &mut Pending<R>, now: Instant) {
        if let Some(reply) = publish.reply.take() {
            self.unanswered = self.unanswered.saturating_sub(1);
            self.counters.ok += 1;
            match &mut self.confirmed {
                Some((accepted, count)) if *accepted == publish.accepted => *count += 1,
                _ => {
                    self.record_latency(now);
                    self.confirmed = Some((publish.accepted, 1));
                }
            }
            reply.answer(Ok(()));
        }
    }

    /// Records the latency of the publishes confirmed `now`.
    pub(super) fn record_latency(&mut self, now: Instant) {
        if let Some((accepted, count)) = self.confirmed.take() {
            let latency = now.saturating_duration_since(accepted);
            self.latency.record(latency, count);
        }
    }

    /// Answers a publish that was never accepted.
    pub(super) fn reject<R: Reply>(&mut self, reply: R, cause: Cause) {
        self.counters.published += 1;
        self.reply(reply, Err(PublishError::new(cause, Delivery::NotWritten)));
    }

    fn reply<R: Reply>(&mut self, reply: R, answer: Result<(), PublishError>) {
        self.counters.count(&answer);
        reply.answer(answer);
    }
}
