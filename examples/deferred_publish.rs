//! Publishes messages that nsqd holds back for a while: a reminder, or another try later.
//!
//! ```text
//! cargo run --example deferred_publish                                   # an nsqd inside this process
//! NSQD_TCP_ADDRESS=127.0.0.1:4150 cargo run --example deferred_publish   # your nsqd
//! ```
//!
//! nsqd keeps deferred messages in memory: after its restart they come at once. What must not come early carries its time
//! in its body, and its consumer puts it back (REQ) until then. nsqd delays by an hour at most, `--max-req-timeout`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_nsq::{
    ErrorKind, ProducerConfig, ProducerHandle, PublishError, Topic, embedded::EmbeddedNsqd,
};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

const HOUR: Duration = Duration::from_secs(3_600);

#[actix::main]
async fn main() -> Fallible<()> {
    let own = std::env::var_os("NSQD_TCP_ADDRESS").is_none();
    let own = own.then(EmbeddedNsqd::start).transpose()?;
    let config = match &own {
        Some(nsqd) => ProducerConfig::new(nsqd.address().to_string())?,
        None => ProducerConfig::from_env()?,
    };
    // Where nsqd runs with another `--max-req-timeout`, the producer is to be told.
    let longest = config.max_req_timeout();
    let nsq = ProducerHandle::start(config);
    let topic = Topic::new("reminders")?;

    let delays = [Duration::from_secs(5), HOUR / 2, HOUR];
    for delay in delays {
        remind(&nsq, &topic, delay).await?;
        println!("in {delay:>5?}: stored");
    }

    // Refused before it is sent, by the limit in our own configuration.
    match remind(&nsq, &topic, HOUR * 2).await {
        Err(error) if error.kind() == ErrorKind::DelayTooLong => {
            println!("in {:?}: {error}", HOUR * 2);
        }
        other => return Err(format!("two hours were not refused: {other:?}").into()),
    }

    // Longer than nsqd delays: in steps. The consumer finds that it is too early, and publishes it again with what is left.
    remind_in_steps(&nsq, &topic, HOUR * 30, longest).await?;
    println!(
        "in {:?}: stored, to be passed on after {longest:?}",
        HOUR * 30
    );

    nsq.drain(Duration::from_secs(5)).await?;
    if let Some(nsqd) = &own {
        let held: Vec<_> = nsqd
            .messages(topic.as_str())
            .iter()
            .filter_map(|it| it.defer)
            .collect();
        println!("nsqd holds back: {held:?}");
        if held != [&delays[..], &[longest]].concat() {
            return Err("not what was published".into());
        }
    }
    Ok(())
}

async fn remind(nsq: &ProducerHandle, topic: &Topic, delay: Duration) -> Result<(), PublishError> {
    nsq.deferred_publish(topic, delay, "stand up").await
}

/// The body tells when it is due: its consumer looks at that, and not at when the message came.
async fn remind_in_steps(
    nsq: &ProducerHandle,
    topic: &Topic,
    delay: Duration,
    longest: Duration,
) -> Fallible<()> {
    let due = (SystemTime::now() + delay).duration_since(UNIX_EPOCH)?;
    let body = serde_json::json!({ "due": due.as_secs(), "text": "stand up" });
    let step = delay.min(longest);
    nsq.deferred_publish(topic, step, body.to_string()).await?;
    Ok(())
}
