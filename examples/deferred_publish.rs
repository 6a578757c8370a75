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
    Config, DeferredPublish, Delivery, Drain, Error, ErrorKind, Producer, Topic, actix::Addr,
    embedded::EmbeddedNsqd,
};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

const HOUR: Duration = Duration::from_secs(3_600);

#[actix::main]
async fn main() -> Fallible<()> {
    let own = std::env::var_os("NSQD_TCP_ADDRESS").is_none();
    let own = own.then(EmbeddedNsqd::start).transpose()?;
    let config = match &own {
        Some(nsqd) => Config::new(nsqd.address().to_string())?,
        None => Config::from_env()?,
    };
    // The limit that a delay is checked against before it is sent; as large as nsqd's own, by default.
    let longest = config.max_req_timeout();
    let producer = Producer::start(config);
    let topic = Topic::new("reminders")?;

    let delays = [Duration::from_secs(5), HOUR / 2, HOUR];
    for delay in delays {
        remind(&producer, &topic, delay).await?;
        println!("in {delay:>5?}: stored");
    }

    let refused = remind(&producer, &topic, HOUR * 2).await;
    match &refused {
        Err(error) if error.kind() == ErrorKind::DelayTooLong => println!("in {:?}: {error}", HOUR * 2),
        _ => return Err(format!("two hours were not refused: {refused:?}").into()),
    }
    assert_not_stored(&refused)?;

    // Longer than nsqd delays: in steps. The consumer finds that it is too early, and publishes it again with what is left.
    remind_in_steps(&producer, &topic, HOUR * 30, longest).await?;
    println!("in {:?}: stored, to be passed on after {longest:?}", HOUR * 30);

    let deadline = Duration::from_secs(5);
    producer.send(Drain { deadline }).await?;
    if let Some(nsqd) = &own {
        let held: Vec<_> = nsqd.messages(topic.as_str()).iter().filter_map(|it| it.defer).collect();
        println!("nsqd holds back: {held:?}");
        if held != [delays[0], delays[1], delays[2], longest] {
            return Err("not what was published".into());
        }
    }
    Ok(())
}
