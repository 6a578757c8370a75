//! Values of a producer arrive in a recorder of `metrics` and in a registry of `prometheus`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{collections::HashMap, time::Duration};

use actix_nsq::{ProducerConfig, ProducerHandle, embedded::EmbeddedNsqd, metrics::prometheus_text};
use integrations::{collector::SampleCollector, facade};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use prometheus::{Registry, TextEncoder, proto::MetricType};

#[path = "../../../tests/support/wait.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod wait;

const PUBLISHES: u64 = 100;

/// A producer after this number of publishes.
async fn producer() -> (EmbeddedNsqd, ProducerHandle) {
    let nsqd = EmbeddedNsqd::start().unwrap();
    let config = ProducerConfig::new(nsqd.address().to_string()).unwrap();
    let producer = ProducerHandle::start(config);
    for _ in 0..PUBLISHES {
        producer.publish("orders", "order").await.unwrap();
    }
    producer.publish("orders", "").await.unwrap_err();
    (nsqd, producer)
}

/// Values by the name of the metric and the label `outcome`.
type Values = HashMap<(String, String), DebugValue>;

/// Reads the values of the recorder, and sets them to 0.
fn take(snapshotter: &Snapshotter) -> Values {
    let values = snapshotter.snapshot().into_vec().into_iter();
    let named = values.map(|(key, _, help, value)| {
        let key = key.key();
        assert!(help.is_some(), "{key}");
        assert!(key.labels().any(|label| label.key() == "nsqd"), "{key}");
        let outcome = key.labels().find(|label| label.key() == "outcome");
        let outcome = outcome.map_or("", |label| label.value());
        ((key.name().to_owned(), outcome.to_owned()), value)
    });
    named.collect()
}

#[actix::test]
async fn recorder_receives_counters_gauges_and_sums() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (_nsqd, producer) = producer().await;
    // The second call adds nothing to the first one.
    for _ in 0..2 {
        facade::record(&producer.stats().await.unwrap().samples());
    }

    let values = take(&recorder.snapshotter());
    let value = |name: &str, outcome: &str| {
        let value = values.get(&(format!("nsq_producer_{name}"), outcome.to_owned()));
        value.unwrap_or_else(|| panic!("no {name} {outcome} in {values:?}"))
    };
    assert_eq!(
        value("publishes_total", "ok"),
        &DebugValue::Counter(PUBLISHES)
    );
    assert_eq!(
        value("publishes_total", "not_written"),
        &DebugValue::Counter(1)
    );
    assert_eq!(value("up", ""), &DebugValue::Gauge(1.0.into()));
    assert_eq!(
        value("publish_duration_seconds_count", ""),
        &DebugValue::Counter(PUBLISHES)
    );
    let DebugValue::Gauge(sum) = value("publish_duration_seconds_sum", "") else {
        panic!("the sum is no gauge: {values:?}");
    };
    assert!(**sum > 0.0 && **sum < 60.0, "{sum}");
}

#[actix::test]
async fn statistics_are_recorded_again_and_again() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let snapshotter = recorder.snapshotter();
    let (_nsqd, producer) = producer().await;
    let publishes = ("nsq_producer_publishes_total".to_owned(), "ok".to_owned());
    let reaches = |count| take(&snapshotter).get(&publishes) == Some(&DebugValue::Counter(count));
    let observe = async {
        wait::until("the first values", || reaches(PUBLISHES)).await;
        producer.publish("orders", "order").await.unwrap();
        wait::until("one more publish", || reaches(PUBLISHES + 1)).await;
    };
    tokio::select! {
        result = facade::record_producer(&producer, Duration::from_millis(1)) => {
            panic!("it has ended: {result:?}");
        }
        () = observe => {}
    }
}

#[actix::test]
async fn registry_gathers_the_same_values_as_the_text_of_the_crate() {
    let (_nsqd, producer) = producer().await;
    let samples = producer.stats().await.unwrap().samples();
    let registry = Registry::new();
    let collector = SampleCollector::default();
    registry.register(Box::new(collector.clone())).unwrap();
    assert!(registry.gather().is_empty());
    collector.update(samples.clone());

    let families = registry.gather();
    let duration = families
        .iter()
        .find(|family| family.name() == "nsq_producer_publish_duration_seconds")
        .unwrap();
    assert_eq!(duration.get_field_type(), MetricType::HISTOGRAM);
    let histogram = duration.get_metric()[0].get_histogram();
    assert_eq!(histogram.get_sample_count(), PUBLISHES);
    assert!(histogram.get_bucket().len() > 10);

    // The same lines; the registry sorts them.
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let gathered = TextEncoder::new().encode_to_string(&families).unwrap();
    assert_eq!(sorted(&gathered), sorted(&prometheus_text(&samples)));
}
