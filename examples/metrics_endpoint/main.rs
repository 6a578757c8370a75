//! An HTTP server with the metrics and the health of a producer and a consumer.
//!
//! ```sh
//! cargo run --example metrics_endpoint               # an nsqd inside this process
//! cargo run --example metrics_endpoint -- --nsqd-tcp-address 127.0.0.1:4150
//! curl http://127.0.0.1:8080/metrics                 # for Prometheus
//! curl -i http://127.0.0.1:8080/live
//! curl -i http://127.0.0.1:8080/ready
//! curl -i -d 'an order' http://127.0.0.1:8080/publish/orders
//! ```
//!
//! `grafana.json` in the folder of this example is a dashboard of these metrics. The guide explains
//! them: `docs/metrics.md`.

mod health;
#[path = "../shared/stop_signal.rs"]
mod stop_signal;

use std::{error::Error, time::Duration};

use actix_nsq::{
    ConsumerConfig, ConsumerHandle, IncomingMessage, MessageStream, ProducerConfig, ProducerHandle,
    Subscription, embedded::EmbeddedNsqd, metrics,
};
use actix_web::{
    App, HttpResponse, HttpServer,
    error::{ErrorServiceUnavailable, InternalError},
    http::StatusCode,
    web,
};
use clap::Parser;

use self::{health::Health, stop_signal::stop_signal};

/// Serves /metrics, /live and /ready, and publishes what is posted to /publish/{topic}.
#[derive(Parser)]
struct Flags {
    /// Address to serve HTTP at; port 0 is any free port
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: String,
    /// nsqd; by default one inside this process
    #[arg(long)]
    nsqd_tcp_address: Option<String>,
    /// Topic that is consumed
    #[arg(long, default_value = "orders")]
    topic: String,
}

/// Longest time of a request for nsqd: shorter than HTTP clients wait, and than the shutdown below.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Seconds for requests in progress when the server stops.
const SHUTDOWN_SECONDS: u64 = 10;

/// What all requests share.
#[derive(Clone)]
struct Nsq {
    producer: ProducerHandle,
    consumer: ConsumerHandle,
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let embedded = match flags.nsqd_tcp_address {
        None => Some(EmbeddedNsqd::start()?),
        Some(_) => None,
    };
    let nsqd = embedded.as_ref().map(|nsqd| nsqd.address().to_string());
    let nsqd = flags.nsqd_tcp_address.or(nsqd).unwrap_or_default();
    let producer = ProducerConfig::builder(&nsqd)
        .publish_timeout(PUBLISH_TIMEOUT)
        .topic_stats(100)
        .build()?;
    let subscription = Subscription::new(&*flags.topic, "metrics_endpoint")?;
    let (consumer, messages) = ConsumerHandle::start(ConsumerConfig::new(&nsqd)?, subscription);
    actix::spawn(handle(messages));
    let nsq = Nsq {
        producer: ProducerHandle::start(producer),
        consumer,
    };
    let data = web::Data::new(nsq.clone());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .route("/metrics", web::get().to(metrics))
            .route("/live", web::get().to(live))
            .route("/ready", web::get().to(ready))
            .route("/publish/{topic}", web::post().to(publish))
    })
    .disable_signals()
    .shutdown_timeout(SHUTDOWN_SECONDS)
    .bind(&flags.listen)
    .map_err(|error| format!("--listen {}: {error}", flags.listen))?;
    for address in server.addrs() {
        println!("listening on {address}");
    }
    let server = server.run();
    let handle = server.handle();
    let server = actix::spawn(server);
    stop_signal().await?;
    handle.stop(true).await;
    let timeout = PUBLISH_TIMEOUT;
    println!("producer drained: {}", nsq.producer.drain(timeout).await?);
    println!("consumer drained: {}", nsq.consumer.drain(timeout).await?);
    Ok(server.await??)
}

/// Finishes each message.
async fn handle(mut messages: MessageStream) {
    while let Some(message) = messages.next().await {
        finish(message);
    }
}

fn finish(message: IncomingMessage) {
    if let Err(error) = message.finish() {
        println!("delivered again: {error}");
    }
}

async fn metrics(nsq: web::Data<Nsq>) -> actix_web::Result<HttpResponse> {
    // An error means that an actor has ended.
    let producer = nsq
        .producer
        .stats()
        .await
        .map_err(ErrorServiceUnavailable)?;
    let consumer = nsq
        .consumer
        .stats()
        .await
        .map_err(ErrorServiceUnavailable)?;
    let samples = [producer.samples(), consumer.samples()].concat();
    Ok(HttpResponse::Ok()
        .content_type(metrics::PROMETHEUS_CONTENT_TYPE)
        .body(metrics::prometheus_text(&samples)))
}

/// Fails if an actor does not answer: it has ended, or its thread is blocked. Restart the process.
async fn live(nsq: web::Data<Nsq>) -> HttpResponse {
    Health::check(&nsq).await.live()
}

/// Fails if nothing can be published or consumed now. Route requests elsewhere, and do not restart
/// the process: publishes are queued, and connections are made again.
async fn ready(nsq: web::Data<Nsq>) -> HttpResponse {
    Health::check(&nsq).await.ready()
}

async fn publish(
    topic: web::Path<String>,
    body: web::Bytes,
    nsq: web::Data<Nsq>,
) -> actix_web::Result<&'static str> {
    let published = nsq.producer.publish(topic.as_str(), body).await;
    published.map_err(|error| {
        let status = StatusCode::from_u16(error.http_status());
        InternalError::new(error, status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
    })?;
    Ok("stored\n")
}
