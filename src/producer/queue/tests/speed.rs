//! Speed of the queue alone: `cargo test --release --lib speed -- --ignored --nocapture`
//!
//! It is not in `benches/`, because the queue is private.

use std::hint::black_box;

use criterion::{Criterion, Throughput};

use super::*;

struct Discard;

impl Reply for Discard {
    fn is_closed(&self) -> bool {
        false
    }

    fn answer(self, answer: Result<(), PublishError>) {
        black_box(answer.is_ok());
    }
}

/// A queue and a connection that answers everything.
struct Loop {
    queue: TransactionQueue<Discard>,
    out: Outbox,
    topics: Vec<Topic>,
    body: Bytes,
    now: Instant,
}

impl Loop {
    fn new(topics: usize, batch: Option<Batch>) -> Self {
        let topics = (0..topics).map(|number| Topic::new(format!("topic_{number}")).unwrap());
        Self {
            queue: TransactionQueue::alone(Limits {
                pending: usage(1_000_000, 1 << 30),
                window: usage(1_000_000, 1 << 30),
                batch,
                batch_time: SECOND,
                retry_maybe_written: false,
                pending_per_topic: None,
                topic_stats: None,
                budget: usize::MAX,
                is_pooled: false,
            }),
            out: Outbox::new(),
            topics: topics.collect(),
            body: vec![7; 200].into(),
            now: Instant::now(),
        }
    }

    fn push(&mut self, number: usize, timeout: Duration) {
        let transaction = Transaction {
            topic: self.topics[number % self.topics.len()].clone(),
            payload: Payload::Publish(self.body.clone()),
            timeout,
        };
        self.queue
            .push(transaction, WhenFull::Reject, self.now, Discard);
    }

    /// All publishes arrive at once, and each burst of commands is answered before the next.
    fn publish_and_answer(&mut self, publishes: usize) {
        for number in 0..publishes {
            self.push(number, 30 * SECOND);
        }
        while !self.queue.is_empty() {
            while self.queue.next_command(b"{}", &mut self.out, self.now) {}
            black_box(self.out.take());
            let written = self.out.total();
            while self.queue.oldest_end().is_some() {
                self.queue.on_ok(written, self.now).unwrap();
            }
        }
    }
}

const MODES: [(&str, Option<Batch>); 2] = [("batching", BATCHING.batch), ("no batching", None)];

#[test]
#[ignore = "measures speed"]
fn speed_of_publishing() {
    let mut criterion = Criterion::default();
    for (mode, batch) in MODES {
        for topics in [1, 16] {
            let mut group = criterion.benchmark_group(format!("queue/{mode}, {topics} topics"));
            for publishes in [64, 1_024] {
                let mut bench = Loop::new(topics, batch);
                group.throughput(Throughput::Elements(publishes as u64));
                group.bench_function(publishes.to_string(), |b| {
                    b.iter(|| bench.publish_and_answer(publishes));
                });
            }
        }
    }
    criterion.final_summary();
}

#[test]
#[ignore = "measures speed"]
fn speed_of_expiry() {
    let mut criterion = Criterion::default();
    for (mode, batch) in MODES {
        let mut bench = Loop::new(16, batch);
        for number in 0..100_000 {
            bench.push(number, 30 * SECOND);
        }
        criterion.bench_function(&format!("queue/expiry of 1 in 100,000, {mode}"), |b| {
            b.iter(|| {
                bench.push(0, Duration::from_millis(1));
                bench
                    .queue
                    .expire(bench.now + Duration::from_millis(2), None);
            });
        });
        assert_eq!(bench.queue.queued().publishes, 100_000);
    }
    criterion.final_summary();
}
