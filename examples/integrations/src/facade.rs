//! Statistics as metrics of the facade `metrics`, for the recorder that the application installs.

use std::{sync::Arc, time::Duration};

use actix_nsq::{
    ProducerHandle, PublishError,
    metrics::{Sample, Value},
};
use metrics::{Label, counter, describe_counter, describe_gauge, gauge};

// begin facade
/// Passes samples to the recorder.
///
/// `absolute` never lowers a counter. So if a producer replaces another one of the same nsqd, add a
/// label to its samples, by `Sample::with_label`. The counters of an nsqd or of a member of a pool
/// that is removed and added again also begin at 0: the recorder shows the old count until the new
/// one exceeds it.
///
/// Nothing removes the gauges of an nsqd that is removed: they keep their last value.
///
/// The facade has no operation that sets a histogram: it only takes single values. A histogram
/// becomes the counter `NAME_count` and the gauge `NAME_sum`, which give the mean.
pub fn record(samples: &[Sample]) {
    for Sample {
        name,
        help,
        labels,
        value,
        ..
    } in samples
    {
        let label = |(name, value): &(&'static str, _)| Label::new(*name, Arc::clone(value));
        let labels: Vec<_> = labels.iter().map(label).collect();
        match value {
            Value::Counter(count) => {
                describe_counter!(*name, *help);
                counter!(*name, labels).absolute(*count);
            }
            Value::Gauge(value) => {
                describe_gauge!(*name, *help);
                gauge!(*name, labels).set(*value);
            }
            Value::Histogram(histogram) => {
                let (count, sum) = (format!("{name}_count"), format!("{name}_sum"));
                describe_counter!(count.clone(), *help);
                counter!(count, labels.clone()).absolute(histogram.count);
                describe_gauge!(sum.clone(), *help);
                gauge!(sum, labels).set(histogram.sum);
            }
            // A kind of a later version of the crate.
            _ => {}
        }
    }
}

/// Records the statistics of a producer again and again, until the producer stops.
pub async fn record_producer(
    producer: &ProducerHandle,
    interval: Duration,
) -> Result<(), PublishError> {
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        record(&producer.stats().await?.samples());
    }
}
// end facade
