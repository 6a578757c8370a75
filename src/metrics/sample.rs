//! A value of a metric.

use std::{fmt, sync::Arc, time::Duration};

use super::Latency;

/// A value of a metric at one moment.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// Name of the metric, such as `nsq_producer_publishes_total`.
    pub name: &'static str,
    /// What it counts or measures.
    pub help: &'static str,
    /// Names and values of its labels. Samples with the same name have the same names of labels.
    pub labels: Vec<(&'static str, Arc<str>)>,
    /// The value.
    pub value: Value,
}

impl Sample {
    /// Adds a label, to tell apart the metrics of two producers of the same nsqd. Nothing checks
    /// the name: it consists of letters, digits and `_`, and is not a label of the sample yet.
    #[must_use]
    pub fn with_label(mut self, name: &'static str, value: impl Into<Arc<str>>) -> Self {
        self.labels.push((name, value.into()));
        self
    }
}

/// The value of a [`Sample`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A number of events since the actor was started, or since its nsqd or nsqlookupd was added.
    Counter(u64),
    /// What there is now.
    Gauge(f64),
    /// Durations since the actor was started.
    Histogram(Histogram),
}

impl Value {
    /// Returns what kind of metric it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Counter(_) => Kind::Counter,
            Self::Gauge(_) => Kind::Gauge,
            Self::Histogram(_) => Kind::Histogram,
        }
    }
}

/// A kind of metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// It only grows, until the actor is started anew, or its nsqd or nsqlookupd is removed.
    Counter,
    /// It grows and falls.
    Gauge,
    /// Counts in buckets, which only grow.
    Histogram,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// A distribution of durations in seconds.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Histogram {
    /// Number of durations.
    pub count: u64,
    /// Their sum in seconds.
    pub sum: f64,
    /// For each power of two from 8 µs to 67 s, in seconds, the number of durations below it.
    /// Those above are included in `count` only.
    pub buckets: Vec<(f64, u64)>,
}

impl From<&Latency> for Histogram {
    fn from(latency: &Latency) -> Self {
        let powers_of_two = latency.buckets().skip(7).step_by(8);
        Self {
            count: latency.count(),
            sum: latency.sum().as_secs_f64(),
            buckets: powers_of_two
                .map(|(bound, count)| (bound.as_secs_f64(), count))
                .collect(),
        }
    }
}

/// A label with its values, of which each has a number.
pub(crate) type ByLabel<'a, T> = (&'static str, &'a [(&'static str, T)]);

/// Samples with the same labels.
#[derive(Debug)]
pub(crate) struct Samples {
    labels: Vec<(&'static str, Arc<str>)>,
    samples: Vec<Sample>,
}

impl Samples {
    pub(crate) fn with_labels(labels: &[(&'static str, Arc<str>)]) -> Self {
        Self {
            labels: labels.to_vec(),
            samples: Vec::new(),
        }
    }

    fn add(&mut self, (name, help): Metric, value: Value) {
        self.samples.push(Sample {
            name,
            help,
            labels: self.labels.clone(),
            value,
        });
    }

    fn add_by_label<T: Copy>(
        &mut self,
        metric: Metric,
        (label, values): ByLabel<'_, T>,
        value: impl Fn(T) -> Value,
    ) {
        for (of, number) in values {
            self.with_label(label, Arc::from(*of), |it| it.add(metric, value(*number)));
        }
    }

    /// Adds samples that have another label, too.
    pub(crate) fn with_label(
        &mut self,
        label: &'static str,
        value: Arc<str>,
        add: impl FnOnce(&mut Self),
    ) {
        self.labels.push((label, value));
        add(self);
        self.labels.pop();
    }

    /// Adds samples that have their labels already.
    pub(crate) fn extend(&mut self, samples: Vec<Sample>) {
        self.samples.extend(samples);
    }

    pub(crate) fn counter(&mut self, metric: Metric, value: u64) {
        self.add(metric, Value::Counter(value));
    }

    pub(crate) fn counters(&mut self, metric: Metric, by_label: ByLabel<'_, u64>) {
        self.add_by_label(metric, by_label, Value::Counter);
    }

    pub(crate) fn gauge(&mut self, metric: Metric, value: impl IntoGauge) {
        self.add(metric, Value::Gauge(value.into_gauge()));
    }

    pub(crate) fn gauges(&mut self, metric: Metric, by_label: ByLabel<'_, usize>) {
        self.add_by_label(metric, by_label, |value| Value::Gauge(value.into_gauge()));
    }

    pub(crate) fn histogram(&mut self, metric: Metric, latency: &Latency) {
        self.add(metric, Value::Histogram(latency.into()));
    }

    pub(crate) fn into_vec(self) -> Vec<Sample> {
        self.samples
    }
}

/// Name and help.
pub(crate) type Metric = (&'static str, &'static str);

/// What a gauge can show.
pub(crate) trait IntoGauge {
    fn into_gauge(self) -> f64;
}

impl IntoGauge for bool {
    fn into_gauge(self) -> f64 {
        f64::from(u8::from(self))
    }
}

impl IntoGauge for u32 {
    fn into_gauge(self) -> f64 {
        f64::from(self)
    }
}

impl IntoGauge for usize {
    #[allow(
        clippy::cast_precision_loss,
        reason = "the limits of all numbers are far below 2^53, those of bytes can be rounded"
    )]
    fn into_gauge(self) -> f64 {
        self as f64
    }
}

/// In seconds.
impl IntoGauge for Duration {
    fn into_gauge(self) -> f64 {
        self.as_secs_f64()
    }
}
