//! The samples of all statistics.

use std::collections::{BTreeMap, BTreeSet};

use actix::System;
use actix_nsq::metrics::{Kind, Sample, Value};
use regex_lite::Regex;
use serde_json::Value as Json;

use crate::support::samples;

/// Labels that Prometheus adds.
const OF_PROMETHEUS: &[&str] = &["instance", "le"];

fn all() -> [Vec<Sample>; 4] {
    System::new().block_on(samples::of_everything())
}

/// The counter with these values of labels.
#[track_caller]
fn count(samples: &[Sample], name: &str, values: &[&str]) -> u64 {
    let has = |sample: &Sample| {
        let has = |value: &&str| sample.labels.iter().any(|(_, it)| &**it == *value);
        sample.name == name && values.iter().all(has)
    };
    let found: Vec<_> = samples.iter().filter(|it| has(it)).collect();
    match found[..] {
        [
            Sample {
                value: Value::Counter(count),
                ..
            },
        ] => *count,
        _ => panic!("{name} {values:?}: {found:?}"),
    }
}

/// checklist: 103
#[test]
fn samples_have_the_values_of_the_statistics() {
    let [producer, pool, consumer, lookup] = all();
    let publishes = "nsq_producer_publishes_total";
    assert_eq!(count(&producer, publishes, &["ok"]), 3);
    assert_eq!(count(&producer, publishes, &["not_written"]), 1);
    let rejected = "nsq_producer_rejected_total";
    assert_eq!(count(&producer, rejected, &["before_queue"]), 1);
    let by_topic = "nsq_producer_topic_publishes_total";
    assert_eq!(count(&producer, by_topic, &["one", "ok"]), 2);
    assert_eq!(count(&producer, by_topic, &["(others)", "ok"]), 1);
    assert_eq!(count(&pool, "nsq_pool_publishes_total", &["ok"]), 1);
    assert_eq!(count(&pool, publishes, &["ok"]), 1);
    let topic = "nsq_pool_topic_publishes_total";
    assert_eq!(count(&pool, topic, &["one", "ok"]), 1);
    let messages = "nsq_consumer_messages_total";
    assert_eq!(
        count(&consumer, messages, &["finished", "one", "channel"]),
        3
    );
    assert!(count(&lookup, "nsq_lookupd_queries_total", &["ok"]) >= 1);
    for (samples, name, expected) in [
        (&producer, "nsq_producer_publish_duration_seconds", 3),
        (&consumer, "nsq_consumer_handling_duration_seconds", 3),
    ] {
        let duration = samples.iter().find(|it| it.name == name).unwrap();
        let Value::Histogram(histogram) = &duration.value else {
            panic!("{duration:?}");
        };
        assert_eq!(histogram.count, expected);
        assert!(histogram.sum > 0.0 && histogram.buckets.len() == 24);
        assert_eq!(histogram.buckets.last().unwrap().1, expected);
    }
}

#[test]
fn names_and_labels_follow_the_conventions_of_prometheus() {
    for samples in all() {
        let mut seen = BTreeSet::new();
        let mut labels_of = BTreeMap::new();
        for sample in &samples {
            let Sample {
                name,
                help,
                labels,
                value,
                ..
            } = sample;
            let names: Vec<_> = labels.iter().map(|(name, _)| *name).collect();
            assert!(seen.insert((*name, labels.clone())), "twice: {sample:?}");
            let first = labels_of.entry(*name).or_insert_with(|| names.clone());
            assert_eq!(*first, names, "{name}");
            assert!(help.ends_with('.'), "{name}: {help}");
            let kind = value.kind();
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            assert!(
                kind != Kind::Histogram || name.ends_with("_seconds"),
                "{name}"
            );
        }
    }
}

/// The metrics of the samples with the names of their labels.
fn known() -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut known = BTreeMap::new();
    for sample in all().into_iter().flatten() {
        let labels: BTreeSet<_> = sample.labels.iter().map(|(name, _)| *name).collect();
        if sample.value.kind() == Kind::Histogram {
            for part in ["_bucket", "_sum", "_count"] {
                known.insert(format!("{}{part}", sample.name), labels.clone());
            }
        } else {
            known.insert(sample.name.to_owned(), labels);
        }
    }
    known
}

/// Asserts that a query has known metrics and labels only, and returns its metrics.
#[track_caller]
fn check(query: &str, known: &BTreeMap<String, BTreeSet<&'static str>>) -> BTreeSet<String> {
    let name = Regex::new(r"\bnsq_[a-z_]+").unwrap();
    let label = Regex::new(r#"(\w+)=~?"|\{\{(\w+)\}\}|by \(([\w, ]+)\)"#).unwrap();
    let names: BTreeSet<_> = name
        .find_iter(query)
        .map(|it| it.as_str().to_owned())
        .collect();
    assert!(!names.is_empty(), "{query}");
    for name in &names {
        let labels = known.get(name).unwrap_or_else(|| panic!("{name}: {query}"));
        for found in label.captures_iter(query) {
            let found = (1..=3).find_map(|group| found.get(group)).unwrap();
            for label in found.as_str().split(", ") {
                let is_known = labels.contains(label) || OF_PROMETHEUS.contains(&label);
                assert!(is_known, "{label}: {query}");
            }
        }
    }
    names
}

#[test]
fn queries_use_only_metrics_and_labels_of_the_samples() {
    let known = known();
    let dashboard = include_str!("../../../examples/metrics_endpoint/grafana.json");
    let dashboard: Json = serde_json::from_str(dashboard).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter();
    let targets = targets.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let mut used = BTreeSet::new();
    for target in targets {
        let parts = [&target["expr"], &target["legendFormat"]];
        let query = parts.map(|part| part.as_str().unwrap()).join(" ");
        used.extend(check(&query, &known));
    }
    assert!(used.len() > 20, "{used:?}");
    let page = include_str!("../../../docs/metrics.md");
    let (_, alerts) = page.split_once("## What to be alerted of").unwrap();
    let (alerts, _) = alerts.split_once("\n## ").unwrap();
    let alerts = alerts.lines().filter_map(|line| line.strip_prefix("| `"));
    let queries = alerts.flat_map(|line| line.split('`').filter(|it| it.contains("nsq_")));
    let used: BTreeSet<_> = queries.flat_map(|query| check(query, &known)).collect();
    assert!(used.len() > 8, "{used:?}");
}
