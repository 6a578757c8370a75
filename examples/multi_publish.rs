//! Publishes many messages with few commands: a batch is one MPUB, which nsqd stores as a whole, with one answer for all.
//!
//! ```text
//! cargo run --release --example multi_publish                                   # an nsqd inside this process
//! NSQD_TCP_ADDRESS=127.0.0.1:4150 cargo run --release --example multi_publish   # your nsqd
//! ```
//!
//! It compares one by one with batches, and shows what becomes of a batch with a bad member, and of one that is too large.

use std::time::{Duration, Instant};

use actix_nsq::{
    Drain, ErrorKind, MultiPublish, Producer, ProducerConfig, Publish, PublishError, Topic,
    actix::Addr, bytes::Bytes, embedded::EmbeddedNsqd,
};
use futures::future::try_join_all;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

const MESSAGES: usize = 20_000;

#[actix::main]
async fn main() -> Fallible<()> {
    let own = std::env::var_os("NSQD_TCP_ADDRESS").is_none();
    let own = own.then(EmbeddedNsqd::start).transpose()?;
    let config = match &own {
        Some(nsqd) => ProducerConfig::new(nsqd.address().to_string())?,
        None => ProducerConfig::from_env()?,
    };
    // A batch has a length of 4 bytes for itself and for each member, beside the bodies.
    let most = config.max_batch_size();
    let producer = Producer::start(config);
    let topic = Topic::new("multi_publish")?;
    let bodies: Vec<Bytes> = (0..MESSAGES).map(|n| format!("line {n}").into()).collect();

    let begun = Instant::now();
    let sent = bodies
        .iter()
        .map(|body| publish(&producer, Publish::new(&topic, body.clone())));
    try_join_all(sent).await?;
    println!("one by one:            {:?}", begun.elapsed());

    let begun = Instant::now();
    let batches = batches(&bodies, 500, most);
    let count = batches.len();
    let sent = batches
        .into_iter()
        .map(|batch| multi_publish(&producer, &topic, batch));
    try_join_all(sent).await?;
    println!("in batches, {count} of them: {:?}", begun.elapsed());

    // nsqd would refuse the whole batch, and close the connection: so it is refused here, and says which member it was.
    let bad = multi_publish(&producer, &topic, &["good", "", "good"].map(Bytes::from)).await;
    let bad = bad.err().filter(|it| it.kind() == ErrorKind::EmptyBody);
    println!("a bad member: {}", bad.ok_or("it was not refused")?);

    let large = vec![Bytes::from(vec![b'x'; 1_000_000]); 6];
    let refused = multi_publish(&producer, &topic, &large).await;
    let refused = refused.err().filter(|it| it.kind() == ErrorKind::TooLarge);
    println!("too large:    {}", refused.ok_or("it was not refused")?);

    let deadline = Duration::from_secs(5);
    let report = producer.send(Drain { timeout: deadline }).await?;
    if let Some(nsqd) = &own {
        let stored = nsqd.message_count(topic.as_str());
        println!("nsqd stored {stored} messages");
        if stored != 2 * MESSAGES {
            return Err(format!("{} were published", 2 * MESSAGES).into());
        }
    }
    match report.is_clean() {
        true => Ok(()),
        false => Err(format!("not drained: {report:?}").into()),
    }
}

async fn publish(producer: &Addr<Producer>, message: Publish) -> Result<(), PublishError> {
    producer.send(message).await?
}

async fn multi_publish(
    producer: &Addr<Producer>,
    topic: &Topic,
    bodies: &[Bytes],
) -> Result<(), PublishError> {
    // A body is counted, not copied, when it is cloned.
    let batch = MultiPublish::new(topic, bodies.iter().cloned());
    producer.send(batch).await?
}

/// Cuts messages into batches of at most `count` messages and `bytes` bytes on the wire.
fn batches(mut bodies: &[Bytes], count: usize, bytes: usize) -> Vec<&[Bytes]> {
    let mut batches = Vec::new();
    while !bodies.is_empty() {
        let mut size = 4;
        let fits = |body: &&Bytes| {
            size += 4 + body.len();
            size <= bytes
        };
        let fitting = bodies.iter().take(count).take_while(fits).count();
        // One that is too large by itself goes alone, and is refused alone.
        let (batch, rest) = bodies.split_at(fitting.max(1));
        batches.push(batch);
        bodies = rest;
    }
    batches
}
