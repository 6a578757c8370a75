//! Time to encode commands and to take them as pieces for a vectored write.
#![allow(
    missing_docs,
    reason = "criterion's macros generate undocumented items"
)]
#![allow(clippy::expect_used, reason = "a bench fails by panicking")]

use std::hint::black_box;

use actix_nsq::{
    Topic,
    bytes::Bytes,
    protocol::{Command, Outbox},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn publish(c: &mut Criterion) {
    let topic = Topic::from_static("orders");
    let mut group = c.benchmark_group("encode/PUB");
    for (name, size) in [
        ("200 B", 200),
        ("4 KiB, copied", 4 << 10),
        ("64 KiB, shared", 64 << 10),
    ] {
        let body = Bytes::from(vec![7; size]);
        let mut out = Outbox::new();
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |b| {
            b.iter(|| {
                let (topic, body) = black_box((&topic, &body));
                Command::Publish { topic, body }.encode(&mut out);
                out.take()
            });
        });
    }
}

/// All commands of a burst, taken at once.
fn burst(c: &mut Criterion) {
    let topic = Topic::from_static("orders");
    let body = Bytes::from(vec![7; 200]);
    let mut group = c.benchmark_group("encode/burst of PUB 200 B");
    for publishes in [64, 256] {
        let mut out = Outbox::new();
        group.throughput(Throughput::Elements(publishes));
        group.bench_function(publishes.to_string(), |b| {
            b.iter(|| {
                for _ in 0..publishes {
                    let (topic, body) = black_box((&topic, &body));
                    Command::Publish { topic, body }.encode(&mut out);
                }
                out.take()
            });
        });
    }
}

fn multi_publish(c: &mut Criterion) {
    let topic = Topic::from_static("orders");
    let mut group = c.benchmark_group("encode/MPUB");
    for (messages, size) in [(64, 200), (256, 200), (64, 4 << 10)] {
        let bodies = vec![Bytes::from(vec![7; size]); messages];
        let mut out = Outbox::new();
        group.throughput(Throughput::Elements(messages as u64));
        group.bench_function(format!("{messages} x {size} B"), |b| {
            b.iter(|| {
                let (topic, bodies) = black_box((&topic, &bodies));
                Command::MultiPublish { topic, bodies }.encode(&mut out);
                out.take()
            });
        });
    }
}

criterion_group!(encode, publish, burst, multi_publish);
criterion_main!(encode);
