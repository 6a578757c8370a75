//! The actor that handles orders, and publishes their results.

use std::{sync::Arc, time::Duration};

use actix::{Actor, Addr, Context, Handler, ResponseFuture};
use actix_nsq::{IncomingMessage, Producer, Publish, PublishError, Requeue};

use super::{
    ledger::{Claim, Ledger},
    order::{Order, OrderResult, RESULTS},
};

/// Delay before an order comes again that could not be handled.
pub(crate) const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Every fifth order fails at its first delivery, so that the page shows retries.
const FAILING: u64 = 5;

/// Handles orders. Several at a time: the `concurrency` of the consumer limits them.
#[derive(Debug)]
pub(crate) struct OrderHandler {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) producer: Addr<Producer>,
    /// Simulated time to handle an order.
    pub(crate) work: Duration,
}

/// Why an order could not be handled now.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the first attempt fails, for the demonstration")]
    Simulated,
    #[error("the result could not be published: {0}")]
    Publish(#[from] PublishError),
}

impl Actor for OrderHandler {
    type Context = Context<Self>;
}

impl Handler<IncomingMessage> for OrderHandler {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: IncomingMessage, _: &mut Context<Self>) -> Self::Result {
        let Self {
            ledger,
            producer,
            work,
        } = self;
        let (ledger, producer, work) = (Arc::clone(ledger), producer.clone(), *work);
        Box::pin(async move {
            let order: Order = match message.json() {
                Ok(order) => order,
                Err(error) => {
                    // An application keeps it: see "Messages that fail always" in the guide.
                    eprintln!("discarded a message that is no order: {error}");
                    ledger.restart_quiet_time();
                    message.settle(Ok::<_, Failure>(()));
                    return;
                }
            };
            let attempts = message.attempts();
            // If an answer cannot be sent, because the connection is lost, nsqd delivers the order
            // again, and the ledger knows what was done.
            match ledger.claim(&order, attempts) {
                Claim::Handled => message.settle(Ok::<_, Failure>(())),
                Claim::InProgress => requeue(message),
                Claim::Handle => match handle(&order, attempts, &producer, work).await {
                    Ok(()) => {
                        ledger.handled(&order);
                        message.settle(Ok::<_, Failure>(()));
                    }
                    Err(failure) => {
                        ledger.release(&order);
                        if !matches!(failure, Failure::Simulated) {
                            eprintln!("order {}, attempt {attempts}: {failure}", order.id);
                        }
                        requeue(message);
                    }
                },
            }
        })
    }
}

/// The order comes again. The other orders can be handled meanwhile, so it causes no backoff.
fn requeue(message: IncomingMessage) {
    // It fails if nsqd has taken the message back: then nsqd delivers it again anyway.
    let _ = message.requeue(Requeue::after(RETRY_DELAY).without_backoff());
}

async fn handle(
    order: &Order,
    attempts: u16,
    producer: &Addr<Producer>,
    work: Duration,
) -> Result<(), Failure> {
    tokio::time::sleep(work).await;
    if attempts == 1 && order.id.is_multiple_of(FAILING) {
        return Err(Failure::Simulated);
    }
    let order = order.clone();
    let publish = Publish::json(RESULTS.0, &OrderResult { order, attempts })?;
    let result = producer.send(publish).await;
    Ok(result.unwrap_or_else(|error| Err(error.into()))?)
}
