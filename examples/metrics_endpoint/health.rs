//! What a producer and a consumer are asked by probes.

use std::time::Duration;

use actix_nsq::{ConsumerState, ProducerState, consumer, producer};
use actix_web::HttpResponse;
use serde::Serialize;
use tokio::time::timeout;

use super::Nsq;

/// Time within which the actors answer, unless their thread is blocked.
const ANSWER: Duration = Duration::from_secs(1);

/// The answer to both probes.
#[derive(Serialize)]
pub(crate) struct Health {
    /// `None`: the producer has not answered.
    producer: Option<ProducerHealth>,
    /// `None`: the consumer has not answered.
    consumer: Option<ConsumerHealth>,
}

#[derive(Serialize)]
struct ProducerHealth {
    state: ProducerState,
    queued: usize,
    last_error: Option<String>,
}

#[derive(Serialize)]
struct ConsumerHealth {
    state: ConsumerState,
    /// nsqds at which it is subscribed, and all.
    subscribed: usize,
    nsqds: usize,
    /// A connection has delivered nearly all that it may: handlers hold messages back.
    is_starved: bool,
    /// Handlers fail: few messages are requested, or none.
    backoff_level: u32,
    last_error: Option<String>,
}

impl Health {
    pub(crate) async fn check(nsq: &Nsq) -> Self {
        let producer = timeout(ANSWER, nsq.producer.stats());
        let consumer = timeout(ANSWER, nsq.consumer.stats());
        let is_starved = timeout(ANSWER, nsq.consumer.is_starved());
        let (producer, consumer, is_starved) = tokio::join!(producer, consumer, is_starved);
        let is_starved = is_starved.unwrap_or_default();
        Self {
            producer: producer.ok().and_then(Result::ok).map(of_producer),
            consumer: consumer
                .ok()
                .and_then(Result::ok)
                .map(|stats| of_consumer(&stats, is_starved)),
        }
    }

    pub(crate) fn live(self) -> HttpResponse {
        let is_live = self.producer.is_some() && self.consumer.is_some();
        self.response(is_live)
    }

    /// A consumer that backs off, or whose handlers are busy, is ready.
    pub(crate) fn ready(self) -> HttpResponse {
        let is_connected = |it: &ProducerHealth| it.state == ProducerState::Connected;
        let is_ready = self.producer.as_ref().is_some_and(is_connected)
            && self.consumer.as_ref().is_some_and(|it| it.subscribed > 0);
        self.response(is_ready)
    }

    fn response(self, is_ok: bool) -> HttpResponse {
        if is_ok {
            HttpResponse::Ok().json(self)
        } else {
            HttpResponse::ServiceUnavailable().json(self)
        }
    }
}

fn of_producer(stats: producer::Stats) -> ProducerHealth {
    ProducerHealth {
        state: stats.state,
        queued: stats.queued,
        last_error: stats.last_error.map(|error| error.to_string()),
    }
}

fn of_consumer(stats: &consumer::Stats, is_starved: bool) -> ConsumerHealth {
    let subscribed = stats.nsqds.iter().filter(|nsqd| nsqd.is_subscribed);
    let failed = stats.nsqds.iter().filter(|nsqd| !nsqd.is_subscribed);
    let mut errors = failed.filter_map(|nsqd| nsqd.last_error.as_ref());
    ConsumerHealth {
        state: stats.state,
        subscribed: subscribed.count(),
        nsqds: stats.nsqds.len(),
        is_starved,
        backoff_level: stats.backoff_level,
        last_error: errors.next().map(ToString::to_string),
    }
}
