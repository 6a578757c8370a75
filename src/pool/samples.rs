//! The metrics of a pool.

use std::sync::Arc;

use super::stats::{MemberState, PoolStats};
use crate::{
    metrics::{Metric, Sample, Samples},
    producer::topic_samples,
};

const PUBLISHES: Metric = ("nsq_pool_publishes_total", "Publishes by their result.");
const TOPIC_PUBLISHES: Metric = (
    "nsq_pool_topic_publishes_total",
    "Accepted publishes by their topic and result.",
);
const REJECTED: Metric = (
    "nsq_pool_rejected_total",
    "Publishes not written because they were rejected before the queue (invalid) or by it (full).",
);
const TIMED_OUT: Metric = (
    "nsq_pool_timed_out_total",
    "Publishes without a result within their timeout.",
);
const MOVED: Metric = (
    "nsq_pool_moved_total",
    "Publishes that left a present member, by the reason.",
);
const MEMBERS: Metric = ("nsq_pool_members", "Members by what they do.");
const WAITING: Metric = (
    "nsq_pool_waiting",
    "Publishes that wait because no member can take them.",
);
const HELD: Metric = (
    "nsq_pool_held",
    "Publishes accepted and without a result, in the pool and in its members.",
);
const HELD_BYTES: Metric = (
    "nsq_pool_held_bytes",
    "Bytes of the bodies of these publishes.",
);
const WAITING_FOR_CAPACITY: Metric = (
    "nsq_pool_waiting_for_capacity",
    "Publishes of handles that wait for capacity.",
);

impl PoolStats {
    /// Returns all values as metrics. Those of the members have the label `nsqd`, and the names of
    /// a producer's metrics. Their times are not repeated for the pool: add them up.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        let mut samples = Samples::with_labels(&[]);
        let results = [
            ("ok", self.ok),
            ("not_written", self.not_written),
            ("maybe_written", self.maybe_written),
            ("maybe_partial", self.maybe_partial),
        ];
        samples.counters(PUBLISHES, ("outcome", &results));
        let rejected = [("invalid", self.rejected), ("full", self.rejected_full)];
        samples.counters(REJECTED, ("kind", &rejected));
        samples.counter(TIMED_OUT, self.timed_out);
        let states = [
            MemberState::Up,
            MemberState::Suspect,
            MemberState::Down,
            MemberState::Leaving,
        ];
        let members = states.map(|state| {
            let in_state = self.members.iter().filter(|member| member.state == state);
            (state.as_str(), in_state.count())
        });
        samples.gauges(MEMBERS, ("state", &members));
        samples.gauge(WAITING, self.waiting);
        samples.gauge(HELD, self.held);
        samples.gauge(HELD_BYTES, self.held_bytes);
        samples.gauge(WAITING_FOR_CAPACITY, self.waiting_for_capacity);
        let mut all = samples.into_vec();
        all.extend(topic_samples(TOPIC_PUBLISHES, &[], &self.topics));
        for member in &self.members {
            let mut samples = Samples::with_labels(&[("from", Arc::clone(&member.address))]);
            let moves = member.moves.by_reason();
            let moves = moves.map(|(reason, count)| (reason.as_str(), count));
            samples.counters(MOVED, ("reason", &moves));
            all.extend(samples.into_vec());
            all.extend(member.producer.samples());
        }
        all
    }
}
