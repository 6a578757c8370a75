//! Statistics as metrics of the crate `prometheus`, beside the metrics of the application.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use actix_nsq::metrics::{Sample, Value};
use prometheus::{
    core::{Collector, Desc},
    proto::{self, MetricFamily, MetricType},
};

// begin collector
/// The newest samples, as a collector. A registry collects without waiting, while the statistics
/// come from an actor: call [`update`](Self::update) before the registry gathers.
#[derive(Debug, Clone, Default)]
pub struct SampleCollector(Arc<Mutex<Vec<Sample>>>);

impl SampleCollector {
    /// Replaces the samples by those of all producers, consumers and pools.
    pub fn update(&self, samples: Vec<Sample>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = samples;
    }
}

impl Collector for SampleCollector {
    /// None: the metrics are not known before the samples. So a registry takes one collector.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = BTreeMap::new();
        for sample in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let Some((kind, metric)) = metric(sample) else {
                continue;
            };
            let family = families.entry(sample.name).or_insert_with(|| {
                let mut family = MetricFamily::default();
                family.set_name(sample.name.to_owned());
                family.set_help(sample.help.to_owned());
                family.set_field_type(kind);
                family
            });
            family.mut_metric().push(metric);
        }
        families.into_values().collect()
    }
}
// end collector

#[allow(
    clippy::cast_precision_loss,
    reason = "counters of prometheus are floating-point numbers"
)]
fn metric(sample: &Sample) -> Option<(MetricType, proto::Metric)> {
    let label = |(name, value): &(&'static str, Arc<str>)| {
        let mut label = proto::LabelPair::default();
        label.set_name((*name).to_owned());
        label.set_value(value.to_string());
        label
    };
    let mut metric = proto::Metric::from_label(sample.labels.iter().map(label).collect());
    let kind = match &sample.value {
        Value::Counter(count) => {
            let mut counter = proto::Counter::default();
            counter.set_value(*count as f64);
            metric.set_counter(counter);
            MetricType::COUNTER
        }
        Value::Gauge(value) => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(*value);
            metric.set_gauge(gauge);
            MetricType::GAUGE
        }
        Value::Histogram(of) => {
            let bucket = |(bound, count): &(f64, u64)| {
                let mut bucket = proto::Bucket::default();
                bucket.set_upper_bound(*bound);
                bucket.set_cumulative_count(*count);
                bucket
            };
            let mut histogram = proto::Histogram::default();
            histogram.set_sample_count(of.count);
            histogram.set_sample_sum(of.sum);
            histogram.set_bucket(of.buckets.iter().map(bucket).collect());
            metric.set_histogram(histogram);
            MetricType::HISTOGRAM
        }
        // A kind of a later version of the crate.
        _ => return None,
    };
    Some((kind, metric))
}
