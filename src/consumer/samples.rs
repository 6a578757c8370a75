//! The metrics of a consumer.

use std::sync::Arc;

use super::stats::Stats;
use crate::metrics::{Metric, Sample, Samples};

const RECEIVED: Metric = (
    "nsq_consumer_received_total",
    "Messages received, redeliveries included.",
);
const MESSAGES: Metric = (
    "nsq_consumer_messages_total",
    "Messages by what was written to nsqd, or why nothing was.",
);
const REDELIVERIES: Metric = (
    "nsq_consumer_redeliveries_total",
    "Redeliveries of messages that a handler had or that were finished too late.",
);
const LATE: Metric = (
    "nsq_consumer_late_total",
    "Answers of handlers after the timeout of the message.",
);
const DEAD_LETTERS: Metric = (
    "nsq_consumer_dead_letters_total",
    "Messages that exceeded max_attempts.",
);
const UNREADABLE: Metric = (
    "nsq_consumer_unreadable_total",
    "Messages whose body the JSON handler could not read.",
);
const TOUCHED: Metric = (
    "nsq_consumer_touched_total",
    "Messages whose timeout was extended, each time.",
);
const ANSWERS_FAILED: Metric = (
    "nsq_consumer_answers_failed_total",
    "Answers that nsqd rejected.",
);
const WAITING: Metric = ("nsq_consumer_waiting", "Messages that wait for a handler.");
const WITH_HANDLERS: Metric = ("nsq_consumer_with_handlers", "Messages that handlers have.");
const BACKOFF_LEVEL: Metric = (
    "nsq_consumer_backoff_level",
    "Successes that are needed to end the backoff; 0: there is none.",
);
const DURATION: Metric = (
    "nsq_consumer_handling_duration_seconds",
    "Time from the start of a message to its handler's answer.",
);
const UP: Metric = (
    "nsq_consumer_up",
    "Whether the consumer is subscribed at this nsqd.",
);
const READY: Metric = ("nsq_consumer_ready", "RDY count at this nsqd.");
const IN_FLIGHT: Metric = (
    "nsq_consumer_in_flight",
    "Messages of this nsqd that are not answered and not expired.",
);
const CONNECTS: Metric = (
    "nsq_consumer_connects_total",
    "Connections made to this nsqd.",
);
const DISCONNECTS: Metric = (
    "nsq_consumer_disconnects_total",
    "Connections to this nsqd that were lost or replaced.",
);
const WRITTEN_BYTES: Metric = (
    "nsq_consumer_written_bytes_total",
    "Bytes written to this nsqd, before compression and encryption.",
);

impl Stats {
    /// Returns all values as metrics, with the labels `topic` and `channel`, and those of a
    /// connection also with `nsqd`.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        let labels = [
            ("topic", Arc::from(self.topic.as_str())),
            ("channel", Arc::from(self.channel.as_str())),
        ];
        let counters = &self.counters;
        let mut samples = Samples::with_labels(&labels);
        samples.counter(RECEIVED, counters.received);
        let by_handlers = counters.requeued - counters.dropped - counters.handler_timeouts;
        let outcomes = [
            ("finished", counters.finished),
            ("requeued", by_handlers),
            ("dropped", counters.dropped),
            ("handler_timeout", counters.handler_timeouts),
            ("returned", counters.returned),
            ("unwritten", counters.unwritten),
            ("expired", counters.expired),
            ("timed_out", counters.timed_out),
        ];
        samples.counters(MESSAGES, ("outcome", &outcomes));
        let redeliveries = [
            ("attached", counters.attached),
            ("finished_again", counters.finished_again),
            ("other_connection", counters.redelivered_elsewhere),
        ];
        samples.counters(REDELIVERIES, ("kind", &redeliveries));
        samples.counter(LATE, counters.late);
        samples.counter(DEAD_LETTERS, counters.dead_letters);
        samples.counter(UNREADABLE, counters.unreadable);
        samples.counter(TOUCHED, counters.touched);
        samples.counter(ANSWERS_FAILED, counters.answers_failed);
        samples.gauge(WAITING, self.waiting);
        samples.gauge(WITH_HANDLERS, self.with_handlers);
        samples.gauge(BACKOFF_LEVEL, self.backoff_level);
        samples.histogram(DURATION, &self.handling);
        let mut all = samples.into_vec();
        for nsqd in &self.nsqds {
            let mut labels = labels.to_vec();
            labels.push(("nsqd", Arc::clone(&nsqd.address)));
            let mut samples = Samples::with_labels(&labels);
            samples.gauge(UP, nsqd.is_subscribed);
            samples.gauge(READY, nsqd.rdy);
            samples.gauge(IN_FLIGHT, nsqd.in_flight);
            samples.counter(CONNECTS, nsqd.connects);
            samples.counter(DISCONNECTS, nsqd.disconnects);
            samples.counter(WRITTEN_BYTES, nsqd.bytes_written);
            all.extend(samples.into_vec());
        }
        all
    }
}
