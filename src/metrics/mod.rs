//! Statistics as metrics, for any monitoring system.
//!
//! The statistics of a producer, a consumer, a pool and a discovery have a method `samples`, which
//! returns them as a table: name, help, kind, labels, value. Names, kinds and labels
//! follow the conventions of Prometheus. [`prometheus_text`] formats them for its server; the
//! examples of the [`guide`](crate::guide) pass them to the crates `metrics` and `prometheus`.
//!
//! ```no_run
//! use actix_nsq::{ConsumerHandle, ProducerHandle, metrics};
//!
//! # async fn example(
//! #     producer: ProducerHandle,
//! #     consumer: ConsumerHandle,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let mut samples = producer.stats().await?.samples();
//! samples.extend(consumer.stats().await?.samples());
//! let body = metrics::prometheus_text(&samples);
//! # drop(body);
//! # Ok(())
//! # }
//! ```
//!
//! A label has few values: `nsqd` and `lookupd` are addresses as they were configured or found,
//! `topic` and `channel` are those of a consumer. Publishes are counted by topic only if the option
//! `topic_stats` is set, which limits the number of topics. What occurs twice in a process, such
//! as two producers of one nsqd, two pools or two consumers of one channel, has the same labels
//! twice: tell them apart by [`Sample::with_label`].
//!
//! The page [metrics](crate::guide::metrics) of the guide lists all metrics.

mod latency;
mod sample;
mod text;

pub(crate) use self::sample::{Metric, Samples};
pub use self::{
    latency::Latency,
    sample::{Histogram, Kind, Sample, Value},
    text::{PROMETHEUS_CONTENT_TYPE, prometheus_text},
};
