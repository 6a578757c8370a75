//! Tests an application in three ways: with an nsqd inside the process that fails on demand, with a
//! mock in place of the producer, and with messages whose answers a test can see.
//!
//! ```sh
//! cargo test --example testing_your_app     # the tests
//! cargo run --example testing_your_app      # the application itself
//! ```
//!
//! In your `Cargo.toml` the feature is for tests only:
//!
//! ```toml
//! [dependencies]
//! actix-nsq = "0.1"
//!
//! [dev-dependencies]
//! actix-nsq = { version = "0.1", features = ["embedded"] }
//! ```

use std::time::Duration;

use actix::Recipient;
use actix_nsq::{
    ConsumerConfig, ConsumerHandle, Delivery, IncomingMessage, Producer, ProducerConfig, Publish,
    Requeue, Subscription, Topic, embedded::EmbeddedNsqd,
};

/// The application: it takes orders, and reports to the customer.
struct Shop {
    /// A producer, or a mock.
    nsq: Recipient<Publish>,
}

#[derive(Debug, PartialEq)]
enum Reply {
    Ordered,
    /// Nothing has happened.
    TryAgain,
    /// Nothing has happened, and trying again does not help.
    Rejected,
    /// The order may have been stored: a person has to check.
    WeWillCheck,
}

impl Shop {
    const ORDERS: Topic = Topic::from_static("orders");

    async fn order(&self, item: &str) -> Reply {
        let order = Publish::new(&Self::ORDERS, item.to_owned());
        // An error of the mailbox means that the producer has stopped: nothing was sent.
        match self
            .nsq
            .send(order)
            .await
            .unwrap_or_else(|error| Err(error.into()))
        {
            Ok(()) => Reply::Ordered,
            Err(error) if error.delivery() != Delivery::NotWritten => Reply::WeWillCheck,
            Err(error) if error.is_retryable() => Reply::TryAgain,
            Err(_) => Reply::Rejected,
        }
    }
}

/// Handles an order, for example in `Handler<IncomingMessage>` of an actor.
fn serve(order: IncomingMessage, kitchen_is_open: bool) {
    let answered = if kitchen_is_open {
        println!("served: {}", String::from_utf8_lossy(order.body()));
        order.finish()
    } else {
        order.requeue(Requeue::default().without_backoff())
    };
    if let Err(error) = answered {
        println!("the order comes again: {error}");
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let nsqd = EmbeddedNsqd::start()?;
    let producer = Producer::start(ProducerConfig::new(nsqd.address().to_string())?);
    let nsq = producer.recipient();
    println!("tea: {:?}", Shop { nsq }.order("tea").await);

    let config = ConsumerConfig::new(nsqd.address().to_string())?;
    let subscription = Subscription::new(Shop::ORDERS, "kitchen")?;
    let (consumer, mut orders) = ConsumerHandle::start(config, subscription);
    if let Some(order) = orders.next().await {
        serve(order, true);
    }
    println!("{}", consumer.drain(Duration::from_secs(5)).await?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use actix::{Actor, Addr, Context, Handler};
    use actix_nsq::{
        ErrorKind, ProducerState, PublishError, WaitConnected,
        producer::GetState,
        testing::{self, IncomingMessageBuilder, SentAnswer},
    };

    use super::*;

    /// A shop with an nsqd of its own, so that tests do not affect each other.
    async fn shop() -> (EmbeddedNsqd, Addr<Producer>, Shop) {
        let nsqd = EmbeddedNsqd::start().unwrap();
        let config = ProducerConfig::builder(nsqd.address().to_string())
            .publish_timeout(Duration::from_secs(1))
            .build()
            .unwrap();
        let producer = Producer::start(config);
        // A fault should hit an order, not the handshake.
        let timeout = Duration::from_secs(10);
        producer
            .send(WaitConnected { timeout })
            .await
            .unwrap()
            .unwrap();
        let nsq = producer.clone().recipient();
        (nsqd, producer, Shop { nsq })
    }

    /// Until the producer has noticed a lost connection, an order is `WeWillCheck`.
    async fn disconnected(producer: &Addr<Producer>) {
        while producer.send(GetState).await.unwrap() == ProducerState::Connected {
            tokio::task::yield_now().await;
        }
    }

    #[actix::test]
    async fn order_is_published() {
        let (nsqd, _, shop) = shop().await;
        assert_eq!(shop.order("tea").await, Reply::Ordered);
        assert_eq!(nsqd.messages("orders")[0].body, "tea");
    }

    #[actix::test]
    async fn order_survives_a_restart_of_nsqd() {
        let (nsqd, producer, shop) = shop().await;
        nsqd.stop();
        disconnected(&producer).await;
        let (reply, restarted) = tokio::join!(shop.order("tea"), async { nsqd.restart() });
        restarted.unwrap();
        assert_eq!(reply, Reply::Ordered);
    }

    #[actix::test]
    async fn rejected_order_can_be_tried_again() {
        let (nsqd, _, shop) = shop().await;
        nsqd.faults().fail_next("PUB", "E_PUB_FAILED PUB failed");
        assert_eq!(shop.order("tea").await, Reply::TryAgain);
        assert_eq!(shop.order("tea").await, Reply::Ordered);
        assert_eq!(nsqd.message_count("orders"), 1);
    }

    #[actix::test]
    async fn invalid_order_is_rejected() {
        let (_nsqd, _, shop) = shop().await;
        assert_eq!(shop.order("").await, Reply::Rejected);
    }

    #[actix::test]
    async fn order_without_a_response_has_to_be_checked() {
        let (nsqd, _, shop) = shop().await;
        nsqd.faults().close_after_commands(1);
        assert_eq!(shop.order("tea").await, Reply::WeWillCheck);
        assert_eq!(nsqd.message_count("orders"), 1);
    }

    #[test]
    fn order_is_served_or_comes_again() {
        let (order, answer) = IncomingMessageBuilder::new("tea").build();
        serve(order, true);
        assert_eq!(answer.get(), Some(SentAnswer::Finished));

        let (order, answer) = IncomingMessageBuilder::new("tea").build();
        serve(order, false);
        let later = Requeue::default().without_backoff();
        assert_eq!(answer.get(), Some(SentAnswer::Requeued(later)));
    }

    /// A mock answers each publish with the same error.
    struct Failing(PublishError);

    impl Actor for Failing {
        type Context = Context<Self>;
    }

    impl Handler<Publish> for Failing {
        type Result = Result<(), PublishError>;

        fn handle(&mut self, _: Publish, _: &mut Context<Self>) -> Self::Result {
            Err(self.0.clone())
        }
    }

    #[actix::test]
    async fn order_is_tried_again_when_the_queue_is_full() {
        let error = testing::publish_error(ErrorKind::Full);
        let nsq = Failing(error).start().recipient();
        assert_eq!(Shop { nsq }.order("tea").await, Reply::TryAgain);
    }
}
