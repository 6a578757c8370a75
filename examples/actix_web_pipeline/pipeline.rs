//! The actors of the pipeline: the producer and the two consumers.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use actix::{Actor, Addr};
use actix_nsq::{
    Consumer, ConsumerConfig, IncomingMessage, MessageHandler, Producer, ProducerConfig,
    Subscription,
    consumer::{self, Drain},
    producer,
};

use super::{
    broker::Broker,
    ledger::{Counts, Ledger},
    order::{ORDERS, OrderResult, RESULTS},
    order_handler::OrderHandler,
};

/// Longest time of a request for nsqd: longer than a restart of nsqd, shorter than HTTP clients
/// wait.
pub(crate) const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Time after which nsqd delivers an unanswered message again.
pub(crate) const MSG_TIMEOUT: Duration = Duration::from_secs(10);

/// Orders that the actor handles at the same time.
const CONCURRENCY: u32 = 8;

/// Orders and results that a consumer may have unanswered.
const MAX_IN_FLIGHT: u32 = 20;

/// Maximum simulated time to handle an order, so that no order is delivered again while it waits or
/// is handled: the orders in flight are handled one group of [`CONCURRENCY`] after the other, and
/// the last ones are published within [`PUBLISH_TIMEOUT`].
pub(crate) const MAX_WORK: Duration = Duration::from_secs(1);

const _: () = {
    let groups = MAX_IN_FLIGHT.div_ceil(CONCURRENCY);
    let longest = MAX_WORK
        .saturating_mul(groups)
        .saturating_add(PUBLISH_TIMEOUT);
    assert!(longest.as_millis() < MSG_TIMEOUT.as_millis());
};

/// Maximum delay before reconnecting: a restart is noticed soon.
const MAX_RECONNECT_BACKOFF: Duration = Duration::from_secs(1);

/// Time for a consumer's handlers to end: above [`MAX_WORK`] and [`PUBLISH_TIMEOUT`] together.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// With an nsqd inside this process, time for all orders to get their results before it ends.
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(20);

/// The producer and the consumers, and what they share.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub(crate) broker: Arc<Broker>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) producer: Addr<Producer>,
    /// Passes orders to [`OrderHandler`].
    pub(crate) orders: Addr<Consumer>,
    /// Passes results to the ledger.
    pub(crate) results: Addr<Consumer>,
}

/// How a pipeline stopped.
#[derive(Debug)]
pub(crate) struct Stopped {
    counts: Counts,
    producer: producer::DrainReport,
    orders: consumer::DrainReport,
    results: consumer::DrainReport,
}

impl Pipeline {
    pub(crate) fn start(broker: Arc<Broker>, work: Duration) -> Result<Self, Box<dyn Error>> {
        let ledger = Arc::new(Ledger::new());
        let config = ProducerConfig::builder(broker.address())
            .publish_timeout(PUBLISH_TIMEOUT)
            .max_reconnect_backoff(MAX_RECONNECT_BACKOFF)
            // A publish whose OK was lost is published again: the ledger recognizes duplicates.
            .retry_maybe_written(true)
            .build()?;
        let producer = Producer::start(config);
        let config = ConsumerConfig::builder(broker.address())
            .max_in_flight(MAX_IN_FLIGHT as usize)
            .concurrency(CONCURRENCY as usize)
            .msg_timeout(MSG_TIMEOUT)
            .max_reconnect_backoff(MAX_RECONNECT_BACKOFF)
            .build()?;

        let order_handler = OrderHandler {
            ledger: Arc::clone(&ledger),
            producer: producer.clone(),
            work,
        };
        let order_handler = order_handler.start().recipient::<IncomingMessage>();
        let subscription = Subscription::new(ORDERS.0, ORDERS.1)?;
        let orders = Consumer::start(config.clone(), subscription, order_handler);

        let completed = Arc::clone(&ledger);
        let collect = move |message: IncomingMessage| {
            match message.json::<OrderResult>() {
                Ok(result) => completed.complete(result),
                Err(error) => {
                    eprintln!("discarded a message that is no result: {error}");
                    completed.restart_quiet_time();
                }
            }
            std::future::ready(Ok::<_, std::convert::Infallible>(()))
        };
        let subscription = Subscription::new(RESULTS.0, RESULTS.1)?;
        let results = Consumer::start(config, subscription, MessageHandler::from_fn(collect));

        Ok(Self {
            broker,
            ledger,
            producer,
            orders,
            results,
        })
    }

    /// Stops the pipeline along the way of the messages. Nothing may publish orders any more.
    pub(crate) async fn stop(self) -> Result<Stopped, actix::MailboxError> {
        // This nsqd ends with the process. A real one keeps the orders for the next process.
        if self.broker.is_embedded() && !self.ledger.all_completed(COMPLETION_TIMEOUT).await {
            eprintln!("some orders have no result after {COMPLETION_TIMEOUT:?}");
        }
        // The handler of orders publishes, so the producer stops after it.
        let orders = self.orders.send(Drain::new(DRAIN_TIMEOUT)).await?;
        let timeout = PUBLISH_TIMEOUT;
        let producer = self.producer.send(producer::Drain { timeout }).await?;
        let results = self.results.send(Drain::new(DRAIN_TIMEOUT)).await?;
        Ok(Stopped {
            counts: self.ledger.counts(),
            producer,
            orders,
            results,
        })
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            counts,
            producer,
            orders,
            results,
        } = self;
        write!(
            f,
            "{counts}; drained: producer: {producer}; orders: {orders}; results: {results}"
        )
    }
}
