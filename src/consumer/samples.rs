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
    "Deliveries by what was written to nsqd, or why nothing was; those finished again have none.",
);
const REDELIVERIES: Metric = (
    "nsq_consumer_redeliveries_total",
    "Redeliveries of messages that a handler had or that were finished too late.",
);
const LATE: Metric = (
    "nsq_consumer_late_total",
    "Answers after the timeout of the message.",
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
    "Time from the start of a message until its handler answered, dropped it or was timed out.",
);
const NSQDS: Metric = (
    "nsq_consumer_nsqds",
    "nsqds of the consumer, by whether it is subscribed there.",
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
    /// Returns the statistics as metrics, with the labels `topic` and `channel`, and those of a
    /// connection also with `nsqd`.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        let counters = &self.counters;
        let mut samples = Samples::with_labels(&[
            ("topic", Arc::from(self.topic.as_str())),
            ("channel", Arc::from(self.channel.as_str())),
        ]);
        samples.counter(RECEIVED, counters.received);
        let not_by_handlers = counters.dropped.saturating_add(counters.handler_timeouts);
        let by_handlers = counters.requeued.saturating_sub(not_by_handlers);
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
        let subscribed = self.nsqds.iter().filter(|nsqd| nsqd.is_subscribed);
        let subscribed = subscribed.count();
        let nsqds = [
            ("subscribed", subscribed),
            ("not_subscribed", self.nsqds.len() - subscribed),
        ];
        samples.gauges(NSQDS, ("state", &nsqds));
        for nsqd in &self.nsqds {
            samples.with_label("nsqd", Arc::clone(&nsqd.address), |samples| {
                samples.gauge(UP, nsqd.is_subscribed);
                samples.gauge(READY, nsqd.rdy);
                samples.gauge(IN_FLIGHT, nsqd.in_flight);
                samples.counter(CONNECTS, nsqd.connects);
                samples.counter(DISCONNECTS, nsqd.disconnects);
                samples.counter(WRITTEN_BYTES, nsqd.bytes_written);
            });
        }
        samples.into_vec()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        consumer::{ConsumerState, Counters, NsqdStats},
        metrics::Latency,
        producer::samples::tests::lines,
        protocol::{Channel, Topic},
    };

    #[test]
    fn each_sample_has_its_value() {
        let mut handling = Latency::default();
        handling.record(Duration::from_millis(1), 31);
        let counters = Counters {
            received: 10,
            started: 11,
            finished: 12,
            requeued: 100,
            dropped: 13,
            handler_timeouts: 14,
            returned: 15,
            touched: 16,
            expired: 17,
            timed_out: 18,
            late: 19,
            unwritten: 20,
            attached: 21,
            finished_again: 22,
            redelivered_elsewhere: 23,
            dead_letters: 24,
            unreadable: 25,
            answers_failed: 26,
        };
        let stats = Stats {
            topic: Topic::from_static("t"),
            channel: Channel::from_static("c"),
            state: ConsumerState::Subscribed,
            counters,
            waiting: 27,
            with_handlers: 28,
            backoff_level: 29,
            handling,
            nsqds: vec![NsqdStats {
                address: "a".into(),
                is_subscribed: true,
                rdy: 40,
                in_flight: 41,
                last_message: None,
                connects: 42,
                disconnects: 43,
                bytes_written: 44,
                last_error: None,
            }],
        };
        let expected = "\
received_total t c 10
messages_total t c finished 12
messages_total t c requeued 73
messages_total t c dropped 13
messages_total t c handler_timeout 14
messages_total t c returned 15
messages_total t c unwritten 20
messages_total t c expired 17
messages_total t c timed_out 18
redeliveries_total t c attached 21
redeliveries_total t c finished_again 22
redeliveries_total t c other_connection 23
late_total t c 19
dead_letters_total t c 24
unreadable_total t c 25
touched_total t c 16
answers_failed_total t c 26
waiting t c 27
with_handlers t c 28
backoff_level t c 29
handling_duration_seconds t c 31
nsqds t c subscribed 1
nsqds t c not_subscribed 0
up t c a 1
ready t c a 40
in_flight t c a 41
connects_total t c a 42
disconnects_total t c a 43
written_bytes_total t c a 44";
        assert_eq!(
            lines(&stats.samples(), "nsq_consumer_").join("\n"),
            expected
        );
    }
}
