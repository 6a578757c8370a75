//! Publishes to one nsqd as long as it is up, for example the one on the same machine, and to
//! another one meanwhile if it is not.
//!
//! ```sh
//! cargo run --example pool_primary
//! ```

use std::{error::Error, time::Duration};

use actix_nsq::{
    PoolConfig, ProducerPool, PublishExt,
    actix::Addr,
    embedded::EmbeddedNsqd,
    pool::{GetMembers, GetState, Strategy},
    producer::Drain,
};
use tokio::time::sleep;

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (first, second) = (EmbeddedNsqd::start()?, EmbeddedNsqd::start()?);
    let addresses = [&first, &second].map(|nsqd| nsqd.address().to_string());
    let config = PoolConfig::builder(addresses)
        .strategy(Strategy::Primary)
        // By default 5 s.
        .failback_after(Duration::from_millis(500))
        // The first delay is random between zero and this.
        .reconnect_backoff(Duration::from_millis(50))
        .build()?;
    let pool = ProducerPool::start(config);
    while pool.send(GetState).await?.up < 2 {
        sleep(Duration::from_millis(10)).await;
    }

    publish("both are up", &pool, &first, &second).await?;

    first.stop();
    // Until the pool has noticed it, a publish may fail as "maybe written".
    while pool.send(GetState).await?.up == 2 {
        sleep(Duration::from_millis(10)).await;
    }
    publish("the first is down", &pool, &first, &second).await?;

    first.restart()?;
    while pool.send(GetState).await?.up < 2 {
        sleep(Duration::from_millis(10)).await;
    }
    publish("the first is up again", &pool, &first, &second).await?;
    sleep(Duration::from_millis(600)).await;
    publish("it has been up for failback_after", &pool, &first, &second).await?;

    for member in pool.send(GetMembers).await? {
        println!("{}: {}", member.address, member.state);
    }
    let drained = pool.send(Drain::new(Duration::from_secs(5))).await?;
    println!("drained: {drained}");
    Ok(())
}

/// Publishes some messages, and shows which nsqd has stored them.
async fn publish(
    when: &str,
    pool: &Addr<ProducerPool>,
    first: &EmbeddedNsqd,
    second: &EmbeddedNsqd,
) -> Result<(), Box<dyn Error>> {
    let count = || [first, second].map(|nsqd| nsqd.message_count("orders"));
    let before = count();
    for _ in 0..10 {
        pool.publish("orders", "an order").await?;
    }
    let after = count();
    println!(
        "{when}: {} messages to the first, {} to the second",
        after[0] - before[0],
        after[1] - before[1]
    );
    Ok(())
}
