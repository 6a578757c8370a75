//! Publishes to nsqd through the producer actor, and shows that each answer is the truth.
//!
//! ```text
//! cargo run --example quickstart                                   # an nsqd inside this process
//! NSQD_TCP_ADDRESS=127.0.0.1:4150 cargo run --example quickstart   # your nsqd
//! ```
//!
//! With its own nsqd it stops and restarts it before your eyes, and goes on with the same address. It ends with
//! counts, and with exit code 0 only if all went as it should.

use std::{process::ExitCode, time::Duration};

use actix_nsq::{
    DeferredPublish, Delivery, Drain, ErrorKind, MultiPublish, Producer, ProducerConfig, Publish,
    PublishError, Topic, actix::Addr, embedded::EmbeddedNsqd,
};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

#[actix::main]
async fn main() -> Fallible<ExitCode> {
    let own = match std::env::var("NSQD_TCP_ADDRESS") {
        Ok(_) => None,
        Err(_) => Some(EmbeddedNsqd::start()?),
    };
    let address = match &own {
        Some(nsqd) => nsqd.address().to_string(),
        None => std::env::var("NSQD_TCP_ADDRESS")?,
    };
    println!(
        "nsqd: {address}{}",
        if own.is_some() {
            ", inside this process"
        } else {
            ""
        }
    );

    let config = ProducerConfig::builder(address)
        .publish_timeout(Duration::from_secs(5))
        .build()?;
    let producer = Producer::start(config);
    let topic = Topic::new("quickstart")?;
    let mut counts = Counts::default();

    println!("\nThree ways to publish:");
    counts.tell("PUB ", producer.send(Publish::new(&topic, "hello")).await?);
    counts.tell(
        "MPUB",
        producer
            .send(MultiPublish::new(&topic, ["one", "two"]))
            .await?,
    );
    let deferred = DeferredPublish::new(&topic, Duration::from_secs(2), "later");
    counts.tell("DPUB", producer.send(deferred).await?);

    println!("\nWhat nsqd would refuse is refused before it is sent, and harms nobody else:");
    counts.tell_refused("PUB ", producer.send(Publish::new(&topic, "")).await?);

    if let Some(nsqd) = &own {
        restart(nsqd, &producer, &topic, &mut counts).await?;
    }

    let report = producer
        .send(Drain {
            timeout: Duration::from_secs(5),
        })
        .await?;
    println!("\nDrained: {report:?}");
    if let Some(nsqd) = &own {
        let stored = nsqd.message_count(topic.as_str());
        // The batch is one answer and two messages.
        let (least, most) = (counts.ok + 1, counts.ok + 1 + counts.maybe);
        println!("nsqd stored {stored} messages.");
        counts.expect(
            (least..=most).contains(&stored),
            "each Ok is stored, and nothing twice",
        );
    }
    Ok(counts.conclude())
}

/// Publishes on while nsqd is away for a while: what cannot be sent waits for its return.
async fn restart(
    nsqd: &EmbeddedNsqd,
    producer: &Addr<Producer>,
    topic: &Topic,
    counts: &mut Counts,
) -> Fallible<()> {
    const AWAY: Duration = Duration::from_millis(500);
    println!("\nnsqd stops, and comes back in {AWAY:?}. Publishing goes on, to the same address:");
    nsqd.stop();
    let back = async {
        tokio::time::sleep(AWAY).await;
        println!("  nsqd starts again");
        nsqd.restart()
    };
    let publishing = async {
        for n in 0..10 {
            let answer = producer
                .send(Publish::new(topic, format!("message {n}")))
                .await?;
            counts.tell("PUB ", answer);
        }
        Ok::<_, PublishError>(())
    };
    let (back, published) = tokio::join!(back, publishing);
    back?;
    Ok(published?)
}

#[derive(Default)]
struct Counts {
    ok: usize,
    refused: usize,
    maybe: usize,
    surprises: usize,
}

impl Counts {
    fn tell(&mut self, command: &str, answer: Result<(), PublishError>) {
        match answer {
            Ok(()) => {
                println!("  {command} Ok");
                self.ok += 1;
            }
            // Sent in the very moment in which nsqd went away, which nobody can know: the answer says so.
            Err(error) if error.kind() == ErrorKind::ConnectionLost => {
                println!("  {command} {:?}: {error}", error.delivery());
                self.maybe += 1;
            }
            Err(error) => {
                println!("  {command} {:?}: {error}", error.delivery());
                self.surprises += 1;
            }
        }
    }

    fn tell_refused(&mut self, command: &str, answer: Result<(), PublishError>) {
        match answer {
            Err(error) if error.delivery() == Delivery::NotWritten => {
                println!("  {command} NotWritten: {error}");
                self.refused += 1;
            }
            other => {
                println!("  {command} should have been refused: {other:?}");
                self.surprises += 1;
            }
        }
    }

    fn expect(&mut self, held: bool, what: &str) {
        if !held {
            println!("  it should be so, but is not: {what}");
            self.surprises += 1;
        }
    }

    fn conclude(&self) -> ExitCode {
        let Self {
            ok,
            refused,
            maybe,
            surprises,
        } = self;
        println!(
            "\n{ok} ok, {refused} refused on purpose, {maybe} maybe written, {surprises} not as they should be"
        );
        if *surprises == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}
