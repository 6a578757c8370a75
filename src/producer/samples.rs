//! The metrics of a producer.

use std::sync::Arc;

use super::stats::{ProducerState, Stats, TopicStats};
use crate::metrics::{Metric, Sample, Samples};

const PUBLISHES: Metric = ("nsq_producer_publishes_total", "Publishes by their result.");
const TOPIC_PUBLISHES: Metric = (
    "nsq_producer_topic_publishes_total",
    "Accepted publishes by their topic and result.",
);
const REJECTED: Metric = (
    "nsq_producer_rejected_total",
    "Publishes not written because they were rejected before the queue (invalid) or by it (full).",
);
const TIMED_OUT: Metric = (
    "nsq_producer_timed_out_total",
    "Publishes without a result within their timeout.",
);
const REQUEUED: Metric = (
    "nsq_producer_requeued_total",
    "Publishes sent again after a lost connection or a rejection.",
);
const COMMANDS: Metric = (
    "nsq_producer_commands_total",
    "Publish commands sent, retries included.",
);
const BATCHES: Metric = (
    "nsq_producer_batches_total",
    "Commands that were automatic batches.",
);
const BATCHED: Metric = (
    "nsq_producer_batched_total",
    "Publishes sent in automatic batches.",
);
const WRITTEN_BYTES: Metric = (
    "nsq_producer_written_bytes_total",
    "Bytes of commands, before compression and encryption.",
);
const CONNECTS: Metric = ("nsq_producer_connects_total", "Connections made.");
const DISCONNECTS: Metric = (
    "nsq_producer_disconnects_total",
    "Connections lost or replaced.",
);
const UP: Metric = ("nsq_producer_up", "Whether the producer is connected.");
const QUEUED: Metric = ("nsq_producer_queued", "Publishes accepted and not sent.");
const QUEUED_BYTES: Metric = (
    "nsq_producer_queued_bytes",
    "Bytes of the bodies accepted and not sent.",
);
const IN_FLIGHT: Metric = (
    "nsq_producer_in_flight",
    "Publishes sent and without a response.",
);
const IN_FLIGHT_BYTES: Metric = (
    "nsq_producer_in_flight_bytes",
    "Bytes of the bodies sent and without a response.",
);
const WAITING: Metric = (
    "nsq_producer_waiting_for_capacity",
    "Publishes of handles that wait for capacity.",
);
const DURATION: Metric = (
    "nsq_producer_publish_duration_seconds",
    "Time from the acceptance of a publish to the result Ok.",
);

/// What stands for all topics beyond the maximum. No topic has such a name.
const OTHER_TOPICS: &str = "(others)";

impl Stats {
    /// Returns all values as metrics, with the label `nsqd`.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        let labels = [("nsqd", Arc::clone(&self.address))];
        let mut samples = Samples::with_labels(&labels);
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
        samples.counter(REQUEUED, self.requeued);
        samples.counter(COMMANDS, self.commands);
        samples.counter(BATCHES, self.batches);
        samples.counter(BATCHED, self.batched);
        samples.counter(WRITTEN_BYTES, self.bytes_written);
        samples.counter(CONNECTS, self.connects);
        samples.counter(DISCONNECTS, self.disconnects);
        samples.gauge(UP, self.state == ProducerState::Connected);
        samples.gauge(QUEUED, self.queued);
        samples.gauge(QUEUED_BYTES, self.queued_bytes);
        samples.gauge(IN_FLIGHT, self.in_flight);
        samples.gauge(IN_FLIGHT_BYTES, self.in_flight_bytes);
        samples.gauge(WAITING, self.waiting_for_capacity);
        samples.histogram(DURATION, &self.latency);
        let mut samples = samples.into_vec();
        samples.extend(topic_samples(TOPIC_PUBLISHES, &labels, &self.topics));
        samples
    }
}

/// The results by topic.
pub(crate) fn topic_samples(
    metric: Metric,
    labels: &[(&'static str, Arc<str>)],
    topics: &[TopicStats],
) -> Vec<Sample> {
    let mut all = Vec::new();
    for stats in topics {
        let topic = stats.topic.as_ref().map_or(OTHER_TOPICS, AsRef::as_ref);
        let mut labels = labels.to_vec();
        labels.push(("topic", Arc::from(topic)));
        let mut samples = Samples::with_labels(&labels);
        let results = [
            ("ok", stats.ok),
            ("not_written", stats.not_written),
            ("maybe_written", stats.maybe_written),
            ("maybe_partial", stats.maybe_partial),
        ];
        samples.counters(metric, ("outcome", &results));
        all.extend(samples.into_vec());
    }
    all
}
