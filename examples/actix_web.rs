//! An HTTP server that publishes what is posted, with readiness and a graceful shutdown.
//!
//! ```sh
//! cargo run --example actix_web                      # an nsqd inside this process
//! cargo run --example actix_web -- --listen 127.0.0.1:8080 --nsqd-tcp-address 127.0.0.1:4150
//! curl -i -d 'an order' http://127.0.0.1:8080/publish/orders
//! curl -i http://127.0.0.1:8080/ready
//! ```
//!
//! The guide explains the choices: `docs/actix-web.md`.

#[path = "shared/stop_signal.rs"]
mod stop_signal;

use std::{error::Error, time::Duration};

use actix::Addr;
use actix_nsq::{
    Delivery, Ping, Producer, ProducerConfig, PublishError, PublishExt, embedded::EmbeddedNsqd,
    producer::Drain,
};
use actix_web::{
    App, HttpResponse, HttpServer, ResponseError,
    http::{StatusCode, header},
    web,
};
use clap::Parser;
use serde_json::json;

use self::stop_signal::stop_signal;

/// Publishes what is posted to /publish/{topic}.
#[derive(Parser)]
struct Flags {
    /// Address to serve HTTP at; port 0 is any free port
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: String,
    /// nsqd; by default $NSQD_TCP_ADDRESS, else one inside this process
    #[arg(long)]
    nsqd_tcp_address: Option<String>,
}

/// Longest time of a request for nsqd: shorter than HTTP clients wait, and than the shutdown below.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Seconds for requests in progress when the server stops.
const SHUTDOWN_SECONDS: u64 = 10;

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let given = flags
        .nsqd_tcp_address
        .or_else(|| std::env::var("NSQD_TCP_ADDRESS").ok());
    let embedded = given.is_none().then(EmbeddedNsqd::start).transpose()?;
    let embedded_address = embedded.as_ref().map(|nsqd| nsqd.address().to_string());
    let config = ProducerConfig::builder(given.or(embedded_address).unwrap_or_default())
        .publish_timeout(PUBLISH_TIMEOUT)
        .build()?;
    let max_body = config.max_publish_size();
    // One producer for the process; `web::Data` gives its address to every worker.
    let producer = web::Data::new(Producer::start(config));

    let data = producer.clone();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            // actix-web's own limit is 256 KiB.
            .app_data(web::PayloadConfig::new(max_body))
            .route("/publish/{topic}", web::post().to(publish))
            .route("/ready", web::get().to(ready))
    })
    // The server's own signal handling stops the System, and the producer with it, before the
    // drain.
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
    println!("stopping");
    // First the server: when its requests have finished, nothing publishes any more. Then the
    // producer.
    handle.stop(true).await;
    let timeout = PUBLISH_TIMEOUT;
    println!("drained: {}", producer.send(Drain { timeout }).await?);
    Ok(server.await??)
}

async fn publish(
    topic: web::Path<String>,
    body: web::Bytes,
    producer: web::Data<Addr<Producer>>,
) -> Result<HttpResponse, PublishFailed> {
    producer.publish(topic.as_str(), body).await?;
    Ok(HttpResponse::Ok().json(json!({ "stored": "yes" })))
}

/// Ready if nsqd responds now. Let the probe fail a few times before it acts: while nsqd restarts,
/// publishes are queued.
async fn ready(producer: web::Data<Addr<Producer>>) -> HttpResponse {
    let timeout = Duration::from_secs(1);
    let result = producer.send(Ping { timeout }).await;
    match result.unwrap_or_else(|error| Err(error.into())) {
        Ok(()) => HttpResponse::Ok().json(json!({ "ready": true })),
        Err(error) => HttpResponse::ServiceUnavailable()
            .json(json!({ "ready": false, "error": error.to_string() })),
    }
}

/// A failed publish as an HTTP response.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct PublishFailed(#[from] PublishError);

impl ResponseError for PublishFailed {
    fn status_code(&self) -> StatusCode {
        let status = StatusCode::from_u16(self.0.http_status());
        status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, "1"));
        }
        let is_stored = match self.0.delivery() {
            Delivery::NotWritten => "no",
            Delivery::MaybeWritten | Delivery::MaybePartial => "maybe",
        };
        response.json(json!({ "stored": is_stored, "error": self.0.to_string() }))
    }
}
