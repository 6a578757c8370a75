//! An HTTP server whose handler publishes, tells each failure by its status, and stops without loss.
//!
//! ```text
//! cargo run --example actix_web_publish                      # an nsqd inside this process
//! cargo run --example actix_web_publish -- --listen 127.0.0.1:8080 --nsqd-tcp-address 127.0.0.1:4150
//! curl -i -d 'an order' http://127.0.0.1:8080/publish/orders
//! curl -i http://127.0.0.1:8080/ready
//! ```
//!
//! **Where to start the producer.** In `main`, one for the process: `web::Data` hands its address to every worker. With
//! `--per-worker` each worker starts its own, as happens when the start is written into the closure of `HttpServer::new`.
//! Measured on two cores that the load and nsqd had to share, bodies of 200 bytes, 2 workers:
//!
//! | | one in `main` | one per worker |
//! |---|---|---|
//! | 4 connections: median answer | 0.24 ms | 0.19 ms |
//! | 64 connections: answers | 32,000 to 37,000/s | 30,000 to 36,000/s |
//! | 64 connections: server's time per answer | 17 us | 13 us |
//! | connections to nsqd, and drains | 1 | one per worker |
//! | order of publishes | that of the sends | none between workers |
//! | SIGTERM | server first, then the drain: nothing is refused | the drain first: late requests get a 503 |
//!
//! The hop between threads costs a little; everything else is simpler with one. An arbiter of its own for that one (`Arbiter::new`)
//! was no faster: `main`'s does nothing else.
//!
//! **Stopping.** On SIGTERM and Ctrl-C the server takes no more connections, the handlers in flight finish, the producer is
//! drained, and the exit code is 0. So no 2xx is lost, which `tests/broker/web.rs` proves while nsqd is killed.

mod failed;

use std::{io, sync::mpsc, time::Duration};

use actix_nsq::{
    Drain, GetState, Ping, Producer, ProducerConfig, Publish, PublishError, Topic, actix::Addr,
    embedded::EmbeddedNsqd,
};
use actix_web::{App, HttpResponse, HttpServer, web};
use clap::Parser;
use serde_json::json;

use self::failed::Failed;

/// Publishes what is posted to /publish/{topic}.
#[derive(Parser)]
struct Flags {
    /// Where to serve HTTP; port 0 is any free one
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: String,
    /// nsqd; by default $NSQD_TCP_ADDRESS, or else one inside this process
    #[arg(long)]
    nsqd_tcp_address: Option<String>,
    /// Start a producer in each worker, in place of one for all
    #[arg(long)]
    per_worker: bool,
}

/// A handler waits no longer than this for nsqd: less than HTTP clients do, and than `STOP`.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// How many seconds handlers in flight have when the server stops.
const STOP: u64 = 10;

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let flags = Flags::parse();
    let given = flags.nsqd_tcp_address;
    let given = given.or_else(|| std::env::var("NSQD_TCP_ADDRESS").ok());
    let own = given.is_none().then(EmbeddedNsqd::start).transpose()?;
    let own_address = own.as_ref().map(|nsqd| nsqd.address().to_string());
    let config = ProducerConfig::builder(given.or(own_address).unwrap_or_default())
        .publish_timeout(PUBLISH_TIMEOUT)
        .build()?;

    let limit = config.max_publish_size();
    let (started, producers) = mpsc::channel();
    let start = move || {
        let producer = Producer::start(config.clone());
        // `main` waits for it.
        let _ = started.send(producer.clone());
        producer
    };
    // On `main`'s arbiter. If yours is busy, give the producer one of its own: `Producer::start_in_arbiter`.
    let shared = (!flags.per_worker).then(&start);
    let server = HttpServer::new(move || {
        // This runs once in every worker.
        let producer = shared.clone().unwrap_or_else(&start);
        App::new()
            .app_data(web::Data::new(producer))
            // actix-web's own limit is a quarter of nsqd's.
            .app_data(web::PayloadConfig::new(limit))
            .route("/publish/{topic}", web::post().to(publish))
            .route("/ready", web::get().to(ready))
    })
    // Its own way with signals would cut handlers off on Ctrl-C, and end the System, and with it the producer's arbiter,
    // before the drain.
    .disable_signals()
    .shutdown_timeout(STOP)
    .bind(&flags.listen)?;
    for address in server.addrs() {
        println!("listening on {address}");
    }
    let server = server.run();
    let handle = server.handle();
    let server = actix::spawn(server);

    signal().await?;
    println!("stopping");
    if flags.per_worker {
        // The arbiters of the workers end with the server, and take their producers along: these must be drained before,
        // and a request that comes in between is answered 503.
        drain(producers.try_iter()).await?;
        handle.stop(true).await;
    } else {
        // Nobody publishes any more when the handlers have finished: nothing is refused.
        handle.stop(true).await;
        drain(producers.try_iter()).await?;
    }
    Ok(server.await??)
}

async fn drain(producers: impl Iterator<Item = Addr<Producer>>) -> Result<(), PublishError> {
    let deadline = PUBLISH_TIMEOUT;
    let drains: Vec<_> = producers
        .map(|it| it.send(Drain { timeout: deadline }))
        .collect();
    for drain in drains {
        // What is left here belongs to clients that have hung up.
        println!("drained: {:?}", drain.await?);
    }
    Ok(())
}

async fn publish(
    topic: web::Path<String>,
    body: web::Bytes,
    producer: web::Data<Addr<Producer>>,
) -> Result<HttpResponse, Failed> {
    let topic = Topic::new(topic.as_str()).map_err(PublishError::from)?;
    let answer = producer.send(Publish::new(topic, body)).await;
    answer.map_err(PublishError::from)??;
    Ok(HttpResponse::Ok().json(json!({ "stored": "yes" })))
}

/// Ready when nsqd answers. It is about this moment: give the probe a few failures, since what is published while nsqd
/// restarts waits for it.
async fn ready(producer: web::Data<Addr<Producer>>) -> HttpResponse {
    let timeout = Duration::from_secs(1);
    let answer = producer.send(Ping { timeout }).await;
    match answer.unwrap_or_else(|gone| Err(gone.into())) {
        Ok(()) => HttpResponse::Ok().json(json!({ "ready": true })),
        Err(error) => {
            let state = producer.send(GetState).await;
            let state = state.map_or_else(|_| "Gone".into(), |state| format!("{state:?}"));
            let why = json!({ "ready": false, "state": state, "error": error.to_string() });
            HttpResponse::ServiceUnavailable().json(why)
        }
    }
}

/// Waits for a signal that asks the program to end.
#[cfg(unix)]
async fn signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Waits for a signal that asks the program to end.
#[cfg(not(unix))]
async fn signal() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
