//! What the page shows, and the one timer that sends it to all pages.

use std::{sync::Arc, time::Duration};

use actix_nsq::{ProducerState, bytes::Bytes, consumer, producer};
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::{
    broker::BrokerInfo,
    ledger::{Counts, Latest, Percentiles},
    order_handler::RETRY_DELAY,
    pipeline::{MSG_TIMEOUT, Pipeline},
};

/// Time between two events: counters move smoothly, and a page costs some 8 KiB a second.
const TICK: Duration = Duration::from_millis(250);

/// A comment, which a page ignores: a stream must not begin with an empty chunk.
const FIRST_EVENT: Bytes = Bytes::from_static(b": the events follow\n\n");

/// Number of results on the page.
const SHOWN_RESULTS: usize = 5;

/// After this time without a publish or a delivery a connected real nsqd holds no order of this
/// process: above the longest time until nsqd delivers a message again.
///
/// A limit: the pipeline cannot see that a channel is paused, for example with nsqadmin. After this
/// time its orders count as lost until they are delivered.
pub(crate) const QUIET: Duration = MSG_TIMEOUT.saturating_add(RETRY_DELAY.saturating_mul(4));

/// The state of the pipeline at one moment.
#[derive(Debug, Serialize)]
pub(crate) struct Snapshot {
    orders: Counts,
    /// Published orders that have no result yet.
    in_flight: u64,
    /// Published orders that have no result, and that nsqd does not hold.
    lost: u64,
    latency: Percentiles,
    stages: Stages,
    nsqd: BrokerInfo,
    connections: [Connection; 3],
    latest: Vec<Latest>,
    /// Open pages.
    viewers: usize,
}

/// What each part holds now.
#[derive(Debug, Serialize)]
struct Stages {
    /// Requests in progress.
    http: u64,
    /// Publishes without a response.
    producer: usize,
    /// Messages of both topics. `None` for a real nsqd.
    nsqd: Option<u64>,
    /// Orders that the actor has.
    consumer: usize,
}

/// A connection to nsqd.
#[derive(Debug, Serialize)]
struct Connection {
    name: &'static str,
    is_up: bool,
    state: String,
    connects: u64,
    /// Why it is down, or why the one before was lost.
    last_error: Option<String>,
}

/// Takes snapshots.
#[derive(Debug, Clone)]
pub(crate) struct Sampler {
    pipeline: Pipeline,
    /// The newest event; `None`: there will be no more.
    events: Arc<watch::Sender<Option<Bytes>>>,
}

impl Sampler {
    pub(crate) fn new(pipeline: Pipeline) -> Self {
        Self {
            pipeline,
            events: Arc::new(watch::Sender::new(Some(FIRST_EVENT))),
        }
    }

    /// The events from now on. Only the newest one is kept: a slow page delays no other page.
    pub(crate) fn events(&self) -> watch::Receiver<Option<Bytes>> {
        let mut events = self.events.subscribe();
        events.mark_changed();
        events
    }

    /// Sends an event to all pages, again and again, until [`stop`](Self::stop).
    pub(crate) async fn run(self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.events.borrow().is_some() {
            ticks.tick().await;
            let snapshot = self.snapshot().await;
            match serde_json::to_string(&snapshot) {
                // A page whose connection is lost tries again after the time in `retry`.
                Ok(json) => self.send(format!("retry: 1000\ndata: {json}\n\n")),
                Err(error) => eprintln!("the snapshot cannot be written as JSON: {error}"),
            }
        }
    }

    fn send(&self, event: String) {
        self.events.send_if_modified(|newest| {
            let is_running = newest.is_some();
            if is_running {
                *newest = Some(event.into());
            }
            is_running
        });
    }

    /// Ends the streams of all pages, also of those that come later.
    pub(crate) fn stop(&self) {
        self.events.send_replace(None);
    }

    pub(crate) async fn snapshot(&self) -> Snapshot {
        let Pipeline {
            broker,
            ledger,
            producer,
            orders,
            results,
        } = &self.pipeline;
        // In this order: an order that is published after the first line, or completed before the
        // last one, does not count as lost.
        let published = ledger.counts().published;
        let held = broker.held();
        let counts = ledger.counts();
        let producer = producer.send(producer::GetStats).await.ok();
        let orders = orders.send(consumer::GetStats).await.ok();
        let results = results.send(consumer::GetStats).await.ok();
        let stages = Stages {
            http: counts.requests,
            producer: producer
                .as_ref()
                .map_or(0, |stats| stats.queued + stats.in_flight),
            nsqd: held,
            consumer: orders.as_ref().map_or(0, |stats| stats.with_handlers),
        };
        let connections = [
            Connection::of_producer(producer),
            Connection::of_consumer("Order consumer", orders),
            Connection::of_consumer("Result consumer", results),
        ];
        if connections.iter().any(|connection| !connection.is_up) {
            ledger.restart_quiet_time();
        }
        let missing = published.saturating_sub(counts.results);
        let lost = match held {
            Some(held) => missing.saturating_sub(held),
            None if ledger.quiet_for() > QUIET => missing,
            None => 0,
        };
        Snapshot {
            orders: counts,
            in_flight: counts.published.saturating_sub(counts.results + lost),
            lost,
            latency: ledger.latency(),
            stages,
            nsqd: broker.info(),
            connections,
            latest: ledger.latest(SHOWN_RESULTS),
            viewers: self.events.receiver_count(),
        }
    }
}

impl Connection {
    fn of_producer(stats: Option<producer::Stats>) -> Self {
        let name = "Producer";
        let Some(stats) = stats else {
            return Self::stopped(name);
        };
        Self {
            name,
            is_up: stats.state == ProducerState::Connected,
            state: stats.state.to_string(),
            connects: stats.connects,
            last_error: stats.last_error.map(|error| error.to_string()),
        }
    }

    fn of_consumer(name: &'static str, stats: Option<consumer::Stats>) -> Self {
        // One address is configured.
        let Some(nsqd) = stats.and_then(|stats| stats.nsqds.into_iter().next()) else {
            return Self::stopped(name);
        };
        let state = match nsqd.is_subscribed {
            true => "subscribed",
            false => "connecting",
        };
        Self {
            name,
            is_up: nsqd.is_subscribed,
            state: state.to_owned(),
            connects: nsqd.connects,
            last_error: nsqd.last_error.map(|error| error.to_string()),
        }
    }

    fn stopped(name: &'static str) -> Self {
        Self {
            name,
            is_up: false,
            state: "stopped".to_owned(),
            connects: 0,
            last_error: None,
        }
    }
}
