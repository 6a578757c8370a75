//! What the queue takes by time, with criterion: `cargo test --release --lib speed -- --ignored --nocapture`
//!
//! It stands here and not in `benches/`, which see what users see: the queue is nobody's but the producer's.

use std::hint::black_box;

use criterion::{Criterion, Throughput};

use super::*;

struct Nobody;

impl Reply for Nobody {
    fn is_closed(&self) -> bool {
        false
    }

    fn answer(self, answer: Result<(), PublishError>) {
        black_box(answer.is_ok());
    }
}

/// A queue, and the connection that it hands over to.
struct Loop {
    queue: TransactionQueue<Nobody>,
    out: Outbox,
    topics: Vec<Topic>,
    body: Bytes,
    now: Instant,
}

impl Loop {
    fn new(topics: usize, batch: Option<Batch>) -> Self {
        let wide = Usage {
            publishes: 1_000_000,
            bytes: 1 << 30,
        };
        let topics = (0..topics).map(|number| Topic::new(format!("topic_{number}")).unwrap());
        Self {
            queue: TransactionQueue::new(Limits {
                pending: wide,
                window: wide,
                batch,
                retry_maybe_written: false,
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
            .push(transaction, WhenFull::Reject, self.now, Nobody);
    }

    /// All publishes come at once, and each burst of commands is answered before the next.
    fn turn(&mut self, publishes: usize) {
        for number in 0..publishes {
            self.push(number, 30 * SECOND);
        }
        while !self.queue.is_empty() {
            while self.queue.next_command(b"{}", &mut self.out, self.now) {}
            black_box(self.out.take());
            let taken = self.out.total();
            while self.queue.has_in_flight() {
                self.queue.on_ok(taken, self.now).unwrap();
            }
        }
    }
}

const BATCH: Batch = Batch {
    messages: 256,
    bytes: 900_000,
};

#[test]
#[ignore = "it takes its time, and tells it"]
fn publishes_take_their_turn() {
    let mut criterion = Criterion::default();
    for (mode, batch) in [("batching", Some(BATCH)), ("no batching", None)] {
        for topics in [1, 16] {
            let mut group = criterion.benchmark_group(format!("queue/{mode}, {topics} topics"));
            for publishes in [64, 1_024] {
                let mut lap = Loop::new(topics, batch);
                group.throughput(Throughput::Elements(publishes as u64));
                group.bench_function(publishes.to_string(), |b| b.iter(|| lap.turn(publishes)));
            }
        }
    }
    criterion.final_summary();
}

#[test]
#[ignore = "it takes its time, and tells it"]
fn a_hundred_thousand_are_looked_at_for_one_that_is_overdue() {
    let mut criterion = Criterion::default();
    for (mode, batch) in [("batching", Some(BATCH)), ("no batching", None)] {
        let mut lap = Loop::new(16, batch);
        for number in 0..100_000 {
            lap.push(number, 30 * SECOND);
        }
        criterion.bench_function(&format!("queue/expiry of 1 in 100,000, {mode}"), |b| {
            b.iter(|| {
                lap.push(0, Duration::from_millis(1));
                lap.queue.expire(lap.now + Duration::from_millis(2), None);
            });
        });
        assert_eq!(lap.queue.queued().publishes, 100_000);
    }
    criterion.final_summary();
}
