//! Publishes without actors, with backpressure, from a plain tokio program.
//!
//! ```sh
//! cargo run --example handle
//! ```

use std::{error::Error, time::Duration};

use actix_nsq::{ProducerConfig, ProducerHandle, Publish, embedded::EmbeddedNsqd};
use futures::SinkExt;
use tokio::task::JoinSet;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let nsqd = EmbeddedNsqd::start()?;
    let config = ProducerConfig::builder(nsqd.address().to_string())
        // A small queue: the tasks below wait for capacity instead of failing with `Full`.
        .max_pending(100)
        .build()?;
    // The producer runs in a thread of its own, which ends with the last handle.
    let nsq = ProducerHandle::start_in_thread(config)?;
    nsq.wait_connected(Duration::from_secs(5)).await?;

    let mut tasks = JoinSet::new();
    for number in 0..1_000 {
        let nsq = nsq.clone();
        tasks.spawn(async move { nsq.publish("numbers", number.to_string()).await });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }

    // One task can do the same: at most 50 have no result at a time.
    let mut sink = nsq.sink(50);
    for number in 1_000..2_000 {
        sink.feed(Publish::new("numbers", number.to_string()))
            .await?;
    }
    sink.flush().await?;

    // A publish with a deadline of its own.
    let urgent = Publish::new("numbers", "2000").expires_in(Duration::from_secs(2));
    nsq.publish_message(urgent).await?;

    println!("stats: {}", nsq.stats().await?);
    println!("drained: {}", nsq.drain(Duration::from_secs(5)).await?);
    Ok(())
}
