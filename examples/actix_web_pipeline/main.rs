//! Orders from HTTP through NSQ to a consumer actor, with a live page: nothing is lost while nsqd
//! is killed.
//!
//! ```sh
//! cargo run --example actix_web_pipeline             # then open http://127.0.0.1:8080/
//! curl -d '{"item":"tea","quantity":2}' -H 'content-type: application/json' \
//!     http://127.0.0.1:8080/orders
//! curl http://127.0.0.1:8080/results                 # the newest results
//! curl http://127.0.0.1:8080/stats                   # the numbers of the page
//! ```
//!
//! `POST /orders` publishes to the topic `orders`; the actor `OrderHandler` handles the order and
//! publishes to the topic `results`, which a second consumer reads. By default nsqd runs inside
//! this process, and the page has a button that kills it. `compose.yaml` beside this file has the
//! same with a real nsqd. The guide explains the choices: `docs/actix-web.md`.

mod broker;
mod http;
mod ledger;
mod order;
mod order_handler;
mod pipeline;
mod service;
mod snapshot;
#[path = "../shared/stop_signal.rs"]
mod stop_signal;
#[cfg(test)]
mod tests;

use std::{error::Error, time::Duration};

use clap::Parser;

use self::{broker::Broker, pipeline::MAX_WORK, service::Service, stop_signal::stop_signal};

/// Takes orders by HTTP, handles them through NSQ, and shows the pipeline on a page.
#[derive(Parser)]
struct Flags {
    /// Address to serve HTTP at; port 0 is any free port
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: String,
    /// nsqd; by default $NSQD_TCP_ADDRESS, else one inside this process
    #[arg(long)]
    nsqd_tcp_address: Option<String>,
    /// Simulated time to handle an order, at most 1s
    #[arg(long, default_value = "200ms", value_parser = parse_work)]
    work: Duration,
}

fn parse_work(text: &str) -> Result<Duration, String> {
    let work = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if work > MAX_WORK {
        return Err(format!(
            "{work:?} exceeds {MAX_WORK:?}: nsqd would deliver orders again while they are handled"
        ));
    }
    Ok(work)
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let given = flags
        .nsqd_tcp_address
        .or_else(|| std::env::var("NSQD_TCP_ADDRESS").ok());
    let broker = match given {
        Some(address) => Broker::external(address),
        None => Broker::embedded()?,
    };
    let service = Service::start(&flags.listen, broker, flags.work)?;
    for address in service.addresses() {
        println!("listening on {address}");
    }
    stop_signal().await?;
    println!("stopping");
    println!("stopped: {}", service.stop().await?);
    Ok(())
}
