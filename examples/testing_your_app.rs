//! Tests of an application against an nsqd inside the process that fails on demand: no docker, no ports, no sleeping.
//!
//! ```text
//! cargo test --example testing_your_app     # the tests
//! cargo run --example testing_your_app      # the application itself
//! ```
//!
//! In your `Cargo.toml`, the feature is for tests only:
//!
//! ```toml
//! [dependencies]
//! actix-nsq = "0.1"
//!
//! [dev-dependencies]
//! actix-nsq = { version = "0.1", features = ["embedded"] }
//! ```

use std::time::Duration;

use actix_nsq::{
    Delivery, ProducerConfig, ProducerHandle, PublishError, Topic, embedded::EmbeddedNsqd,
};

/// The application: it takes orders, and tells the customer how it went.
struct Shop {
    nsq: ProducerHandle,
    orders: Topic,
}

#[derive(Debug, PartialEq)]
enum Reply {
    Ordered,
    /// Nothing has happened.
    TryAgain,
    /// The order may have gone through: a person has to look.
    WeWillCheck,
}

impl Shop {
    fn new(nsq: ProducerHandle) -> Result<Self, PublishError> {
        let orders = Topic::new("orders")?;
        Ok(Self { nsq, orders })
    }

    async fn order(&self, item: &str) -> Reply {
        match self.nsq.publish(&self.orders, item.to_owned()).await {
            Ok(()) => Reply::Ordered,
            Err(error) if error.delivery() == Delivery::NotWritten => Reply::TryAgain,
            Err(_) => Reply::WeWillCheck,
        }
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let own = std::env::var_os("NSQD_TCP_ADDRESS").is_none();
    let own = own.then(EmbeddedNsqd::start).transpose()?;
    let config = match &own {
        Some(nsqd) => ProducerConfig::new(nsqd.address().to_string())?,
        None => ProducerConfig::from_env()?,
    };
    let nsq = ProducerHandle::start(config);
    let reply = Shop::new(nsq.clone())?.order("tea").await;
    println!("tea: {reply:?}");
    nsq.drain(Duration::from_secs(5)).await?;
    match reply {
        Reply::Ordered => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

#[cfg(test)]
mod tests {
    use actix_nsq::{GetState, ProducerState, WaitConnected};

    use super::*;

    /// A shop with an nsqd of its own: tests run side by side without troubling each other.
    async fn shop() -> (EmbeddedNsqd, Shop) {
        let nsqd = EmbeddedNsqd::start().unwrap();
        // Short, so that the tests of failures are.
        let config = ProducerConfig::builder(nsqd.address().to_string())
            .publish_timeout(Duration::from_secs(1))
            .build()
            .unwrap();
        let nsq = ProducerHandle::start(config);
        // Or else a fault could strike the handshake in place of an order.
        let timeout = Duration::from_secs(10);
        let connected = nsq.address().send(WaitConnected { timeout }).await.unwrap();
        connected.unwrap();
        (nsqd, Shop::new(nsq).unwrap())
    }

    /// Until the producer has noticed that the connection is gone, an order goes out to nobody, which is `WeWillCheck`.
    async fn until_noticed(shop: &Shop) {
        while shop.nsq.address().send(GetState).await.unwrap() == ProducerState::Connected {
            tokio::task::yield_now().await;
        }
    }

    #[actix::test]
    async fn an_order_is_published() {
        let (nsqd, shop) = shop().await;
        assert_eq!(shop.order("tea").await, Reply::Ordered);
        let stored = nsqd.messages("orders");
        assert_eq!(stored.len(), 1);
        assert_eq!(stored[0].body, "tea");
    }

    #[actix::test]
    async fn an_order_survives_a_restart_of_nsqd() {
        let (nsqd, shop) = shop().await;
        nsqd.stop();
        until_noticed(&shop).await;
        let (reply, restarted) = tokio::join!(shop.order("tea"), async { nsqd.restart() });
        restarted.unwrap();
        assert_eq!(reply, Reply::Ordered);
        assert_eq!(nsqd.message_count("orders"), 1);
    }

    #[actix::test]
    async fn an_order_that_nsqd_does_not_take_can_be_tried_again() {
        let (nsqd, shop) = shop().await;
        nsqd.faults().refuse_connections(true);
        nsqd.faults().close_connections();
        until_noticed(&shop).await;
        assert_eq!(shop.order("tea").await, Reply::TryAgain);
        assert_eq!(nsqd.message_count("orders"), 0);
    }

    #[actix::test]
    async fn an_order_that_nsqd_refuses_can_be_tried_again() {
        let (nsqd, shop) = shop().await;
        nsqd.faults().fail_next("PUB", "E_PUB_FAILED PUB failed");
        assert_eq!(shop.order("tea").await, Reply::TryAgain);
        assert_eq!(shop.order("tea").await, Reply::Ordered);
        assert_eq!(nsqd.message_count("orders"), 1);
    }

    #[actix::test]
    async fn an_order_that_may_have_gone_through_is_not_sent_again() {
        let (nsqd, shop) = shop().await;
        nsqd.faults().close_after_commands(1);
        assert_eq!(shop.order("tea").await, Reply::WeWillCheck);
        assert_eq!(nsqd.message_count("orders"), 1);
    }

    #[actix::test]
    async fn an_nsqd_that_is_slow_to_answer_is_told_from_one_that_is_away() {
        let (nsqd, shop) = shop().await;
        nsqd.faults().stall(true);
        assert_eq!(shop.order("tea").await, Reply::WeWillCheck);
        nsqd.faults().stall(false);
        assert_eq!(shop.order("more tea").await, Reply::Ordered);
        assert_eq!(nsqd.message_count("orders"), 2);
    }
}
