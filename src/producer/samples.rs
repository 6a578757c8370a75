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
    "Publishes not written because they were rejected before the queue, or because it was full.",
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
const UP: Metric = (
    "nsq_producer_up",
    "Whether the producer is connected and accepts publishes.",
);
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
    "Time from the acceptance of a publish, or its wait for capacity, to the result Ok.",
);

/// What stands for all topics beyond the maximum. No topic has such a name.
const OTHER_TOPICS: &str = "(others)";

impl Stats {
    /// Returns the statistics as metrics, with the label `nsqd`.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        let mut samples = Samples::with_labels(&[("nsqd", Arc::clone(&self.address))]);
        let results = [
            self.ok,
            self.not_written,
            self.maybe_written,
            self.maybe_partial,
        ];
        add_results(&mut samples, PUBLISHES, results);
        let rejected = [
            ("before_queue", self.rejected),
            ("full", self.rejected_full),
        ];
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
        add_topics(&mut samples, TOPIC_PUBLISHES, &self.topics);
        samples.into_vec()
    }
}

/// Adds the results of publishes: `Ok`, and those of each [`Delivery`](crate::Delivery).
pub(crate) fn add_results(
    samples: &mut Samples,
    metric: Metric,
    [ok, not_written, maybe_written, maybe_partial]: [u64; 4],
) {
    let results = [
        ("ok", ok),
        ("not_written", not_written),
        ("maybe_written", maybe_written),
        ("maybe_partial", maybe_partial),
    ];
    samples.counters(metric, ("outcome", &results));
}

/// Adds the results by topic.
pub(crate) fn add_topics(samples: &mut Samples, metric: Metric, topics: &[TopicStats]) {
    for stats in topics {
        let topic = stats.topic.as_ref().map_or(OTHER_TOPICS, AsRef::as_ref);
        let results = [
            stats.ok,
            stats.not_written,
            stats.maybe_written,
            stats.maybe_partial,
        ];
        samples.with_label("topic", Arc::from(topic), |samples| {
            add_results(samples, metric, results);
        });
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::metrics::{Latency, Value};

    /// Statistics of which each number is another one.
    pub(crate) fn numbered(address: &str) -> Stats {
        let mut latency = Latency::default();
        latency.record(std::time::Duration::from_millis(1), 31);
        Stats {
            address: address.into(),
            state: ProducerState::Connected,
            published: 10,
            ok: 11,
            not_written: 12,
            maybe_written: 13,
            maybe_partial: 14,
            rejected: 15,
            rejected_full: 16,
            timed_out: 17,
            requeued: 18,
            commands: 19,
            batches: 20,
            batched: 21,
            connects: 22,
            disconnects: 23,
            bytes_written: 24,
            queued: 25,
            queued_bytes: 26,
            in_flight: 27,
            in_flight_bytes: 28,
            waiting_for_capacity: 29,
            latency,
            last_error: None,
            topics: vec![TopicStats {
                topic: None,
                ok: 1,
                not_written: 2,
                maybe_written: 3,
                maybe_partial: 4,
            }],
        }
    }

    /// Each sample as a line: the name behind its prefix, the values of the labels, the value.
    pub(crate) fn lines(samples: &[Sample], prefix: &str) -> Vec<String> {
        let line = |sample: &Sample| {
            let labels = sample.labels.iter().map(|(_, value)| format!(" {value}"));
            let value = match &sample.value {
                Value::Counter(value) => value.to_string(),
                Value::Gauge(value) => value.to_string(),
                Value::Histogram(histogram) => histogram.count.to_string(),
            };
            let name = sample.name.strip_prefix(prefix).unwrap_or(sample.name);
            format!("{name}{} {value}", labels.collect::<String>())
        };
        samples.iter().map(line).collect()
    }

    #[test]
    fn each_sample_has_its_value() {
        let samples = numbered("a").samples();
        let expected = "\
publishes_total a ok 11
publishes_total a not_written 12
publishes_total a maybe_written 13
publishes_total a maybe_partial 14
rejected_total a before_queue 15
rejected_total a full 16
timed_out_total a 17
requeued_total a 18
commands_total a 19
batches_total a 20
batched_total a 21
written_bytes_total a 24
connects_total a 22
disconnects_total a 23
up a 1
queued a 25
queued_bytes a 26
in_flight a 27
in_flight_bytes a 28
waiting_for_capacity a 29
publish_duration_seconds a 31
topic_publishes_total a (others) ok 1
topic_publishes_total a (others) not_written 2
topic_publishes_total a (others) maybe_written 3
topic_publishes_total a (others) maybe_partial 4";
        assert_eq!(lines(&samples, "nsq_producer_").join("\n"), expected);
    }
}
