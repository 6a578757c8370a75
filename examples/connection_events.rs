//! Tells what happens to the connection, as it happens: for a log, a metric, a light on a dashboard.
//!
//! ```text
//! cargo run --example connection_events
//! ```
//!
//! The nsqd is inside this process, since it is stopped and started before your eyes. Beside the events there are
//! `GetState` and `WaitConnected` for a probe, and `GetStats` for counts.

use std::time::Duration;

use actix::{Actor, Context, Handler, Message};
use actix_nsq::{
    ConnectionEvent, Drain, GetState, GetStats, Producer, ProducerConfig, ProducerState, Publish,
    SubscribeEvents, Topic, WaitConnected, embedded::EmbeddedNsqd,
};
use tokio::time::{Instant, sleep};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// Prints the events, and counts the connections.
struct Watcher {
    started: Instant,
    seen: Seen,
}

/// What a watcher has seen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, actix::MessageResponse)]
struct Seen {
    connected: usize,
    lost: usize,
    drained: bool,
}

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<ConnectionEvent> for Watcher {
    type Result = ();

    fn handle(&mut self, event: ConnectionEvent, _: &mut Context<Self>) {
        let told = match event {
            ConnectionEvent::Connecting { address, failed } => {
                format!("connecting to {address}, attempt {}", failed + 1)
            }
            ConnectionEvent::Connected { negotiated, .. } => {
                self.seen.connected += 1;
                format!("connected to nsqd {}", negotiated.version)
            }
            ConnectionEvent::Lost {
                why,
                resent,
                unknown,
                ..
            } => {
                self.seen.lost += 1;
                format!("lost: {why}; {resent} to be sent again, {unknown} unknown")
            }
            ConnectionEvent::BackingOff { delay, .. } => {
                format!("waiting {} ms before the next attempt", delay.as_millis())
            }
            ConnectionEvent::Draining { .. } => "draining".into(),
            ConnectionEvent::Drained { report, .. } => {
                self.seen.drained = true;
                format!("drained: {report:?}")
            }
            // More kinds may come with a later version.
            other => format!("{other:?}"),
        };
        println!("{:>5} ms  {told}", self.started.elapsed().as_millis());
    }
}

#[derive(Message)]
#[rtype(result = "Seen")]
struct WhatWasSeen;

impl Handler<WhatWasSeen> for Watcher {
    type Result = Seen;

    fn handle(&mut self, _: WhatWasSeen, _: &mut Context<Self>) -> Seen {
        self.seen
    }
}

#[actix::main]
async fn main() -> Fallible<()> {
    let nsqd = EmbeddedNsqd::start()?;
    let config = ProducerConfig::builder(nsqd.address().to_string())
        // Not before somebody looks: else the first attempt begins unseen.
        .connect_at_start(false)
        .build()?;
    let producer = Producer::start(config);
    let watcher = Watcher {
        started: Instant::now(),
        seen: Seen::default(),
    }
    .start();
    // One recipient can serve several producers: every event names its nsqd.
    producer.do_send(SubscribeEvents(watcher.clone().recipient()));

    let timeout = Duration::from_secs(5);
    let wait = WaitConnected { timeout };
    producer.send(wait).await??;

    println!("          nsqd stops");
    nsqd.stop();
    while producer.send(GetState).await? == ProducerState::Connected {
        sleep(Duration::from_millis(1)).await;
    }
    let topic = Topic::new("connection_events")?;
    let waiting = producer.send(Publish::new(&topic, "published while nsqd is away"));
    let restart = async {
        sleep(Duration::from_millis(400)).await;
        println!("          nsqd starts again");
        nsqd.restart()
    };
    let (answer, restarted) = tokio::join!(waiting, restart);
    restarted?;
    answer??;
    println!("          a publish that waited for it is stored");

    let stats = producer.send(GetStats).await?;
    println!(
        "          {} connections, latency {:?}",
        stats.connects, stats.latency
    );
    let drained = producer.send(Drain { timeout });
    drained.await?;
    let expected = Seen {
        connected: 2,
        lost: 1,
        drained: true,
    };
    let seen = watcher.send(WhatWasSeen).await?;
    match seen == expected {
        true => Ok(()),
        false => Err(format!("{seen:?}, where it should be {expected:?}").into()),
    }
}
