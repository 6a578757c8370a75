//! A service of the application in front of a producer: it knows the topics and encodes the events.
//!
//! ```sh
//! cargo run --example registry
//! ```

use std::error::Error;

use actix::prelude::*;
use actix_nsq::{Producer, ProducerConfig, Publish, PublishError, Topic, embedded::EmbeddedNsqd};
use serde::Serialize;

/// What happens in the application. The rest of it knows neither topics nor NSQ.
#[derive(Message, Serialize)]
#[rtype(result = "Result<(), PublishError>")]
enum DomainEvent {
    OrderPlaced { id: u64 },
    UserRegistered { name: String },
}

impl DomainEvent {
    const ORDERS: Topic = Topic::from_static("orders");
    const USERS: Topic = Topic::from_static("users");

    fn topic(&self) -> Topic {
        match self {
            Self::OrderPlaced { .. } => Self::ORDERS,
            Self::UserRegistered { .. } => Self::USERS,
        }
    }
}

/// The service that every actor of this arbiter finds by `EventBus::from_registry()`.
#[derive(Default)]
struct EventBus {
    producer: Option<Addr<Producer>>,
}

impl Actor for EventBus {
    type Context = Context<Self>;
}

impl Supervised for EventBus {}

impl ArbiterService for EventBus {}

#[derive(Message)]
#[rtype(result = "()")]
struct UseProducer(Addr<Producer>);

impl Handler<UseProducer> for EventBus {
    type Result = ();

    fn handle(&mut self, UseProducer(producer): UseProducer, _: &mut Context<Self>) {
        self.producer = Some(producer);
    }
}

impl Handler<DomainEvent> for EventBus {
    type Result = ResponseFuture<Result<(), PublishError>>;

    fn handle(&mut self, event: DomainEvent, _: &mut Context<Self>) -> Self::Result {
        let producer = self.producer.clone();
        Box::pin(async move {
            let producer = producer.ok_or(MailboxError::Closed)?;
            producer.send(Publish::json(event.topic(), &event)?).await?
        })
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nsqd = EmbeddedNsqd::start()?;
    let producer = Producer::start(ProducerConfig::new(nsqd.address().to_string())?);
    EventBus::from_registry()
        .send(UseProducer(producer))
        .await?;

    let bus = EventBus::from_registry();
    bus.send(DomainEvent::OrderPlaced { id: 1 }).await??;
    let name = "ada".to_owned();
    bus.send(DomainEvent::UserRegistered { name }).await??;

    for topic in nsqd.topics() {
        for message in nsqd.messages(&topic) {
            println!("{topic}: {}", String::from_utf8_lossy(&message.body));
        }
    }
    Ok(())
}
