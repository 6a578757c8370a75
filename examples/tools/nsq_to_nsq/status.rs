//! The flag `--status-every`: how long publishes take.

use std::{collections::HashMap, sync::Arc, time::Duration};

use actix_nsq::{Latency, ProducerHandle, ProducerPool};
use hdrhistogram::{CreationError, Histogram};

use crate::log::Log;

/// Maximum time that is recorded; longer ones count as this.
const MAX: Duration = Duration::from_secs(3_600);

/// Prints the times of publishes, in total and by destination.
#[derive(Debug)]
pub(crate) struct Status {
    /// Publishes between two lines; 0: no lines.
    every: u64,
    log: Log,
    /// Microseconds of the publishes since the last line.
    times: Histogram<u64>,
    /// By destination, the latencies at its last line.
    destinations: HashMap<Arc<str>, Latency>,
}

impl Status {
    pub(crate) fn new(every: u64, log: Log) -> Result<Self, CreationError> {
        Ok(Self {
            every,
            log,
            times: Histogram::new_with_bounds(1, MAX.as_micros() as u64, 3)?,
            destinations: HashMap::new(),
        })
    }

    /// Records the time of a publish, whatever its result, and prints the lines that are due.
    pub(crate) async fn record(&mut self, time: Duration, pool: &ProducerHandle<ProducerPool>) {
        if self.every == 0 {
            return;
        }
        self.times.saturating_record(time.as_micros() as u64);
        if self.times.len() < self.every {
            return;
        }
        self.print_destinations(pool).await;
        let quantile = |q| Duration::from_micros(self.times.value_at_quantile(q));
        let times = Times {
            count: self.times.len(),
            p99: quantile(0.99),
            p95: quantile(0.95),
            mean: Duration::from_secs_f64(self.times.mean() / 1e6),
        };
        self.print("aggregate", &times);
        self.times.reset();
    }

    /// Prints a line for each destination that has stored enough messages since its last one. A
    /// destination alone has no line of its own.
    async fn print_destinations(&mut self, pool: &ProducerHandle<ProducerPool>) {
        // Fails only if the pool has ended.
        let Ok(stats) = pool.stats().await else {
            return;
        };
        let several = stats.members.iter().filter(|_| stats.members.len() > 1);
        for member in several {
            let latency = &member.producer.latency;
            let last = self.destinations.get(&member.address);
            let since = last.map_or_else(|| latency.clone(), |last| latency.since(last));
            if since.count() < self.every {
                continue;
            }
            let quantile = |q| since.quantile(q).unwrap_or_default();
            let times = Times {
                count: since.count(),
                p99: quantile(0.99),
                p95: quantile(0.95),
                mean: since.mean().unwrap_or_default(),
            };
            self.print(&member.address, &times);
            let address = Arc::clone(&member.address);
            self.destinations.insert(address, latency.clone());
        }
    }

    /// As NSQ's own tool.
    fn print(&self, name: &str, times: &Times) {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        self.log.line(format_args!(
            "[{name}]: finished {} - 99th: {:.2}ms - 95th: {:.2}ms - avg: {:.2}ms",
            times.count,
            ms(times.p99),
            ms(times.p95),
            ms(times.mean),
        ));
    }
}

/// The times of some publishes.
struct Times {
    count: u64,
    p99: Duration,
    p95: Duration,
    mean: Duration,
}
