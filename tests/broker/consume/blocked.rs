//! A handler that blocks its arbiter, while the consumer has an arbiter of its own.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_nsq::actix::{Actor, Arbiter, Context, Handler};
use actix_nsq::{Consumer, IncomingMessage};

use super::fixture::{CHANNEL, config, drain, stats, subscription, until, until_subscribed};
use crate::fixture::{TOPIC, number_of, producer, publish_all};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, ChannelState, Kind, Settings};
use crate::support::wire_log::{Event, WireLog};
use crate::support::{full, scaled};

pub fn scenarios() -> Vec<Scenario> {
    scenarios![handler_that_blocks_its_arbiter_loses_nothing.with(Settings::in_memory())]
}

/// Blocks its thread when it handles its first message.
struct Worker {
    log: WireLog,
    /// How often each number was handled.
    handled: Arc<Mutex<BTreeMap<usize, usize>>>,
}

impl Actor for Worker {
    type Context = Context<Self>;
}

impl Handler<IncomingMessage> for Worker {
    type Result = ();

    fn handle(&mut self, message: IncomingMessage, _: &mut Context<Self>) {
        let is_first = {
            let mut handled = self.handled.lock().unwrap();
            *handled.entry(number_of(message.body())).or_default() += 1;
            handled.len() == 1
        };
        if is_first {
            // Longer than `msg_timeout` and than two heartbeat intervals.
            std::thread::sleep(Duration::from_secs(scaled(3, 90)));
        }
        self.log.handled(&message);
        // Fails if the message has expired.
        let _ = message.finish();
    }
}

/// nsqd delivers the messages in the mailbox of the handler again meanwhile.
/// consumer contract: 3, 10
/// fault: C13
/// checklist: 66
async fn handler_that_blocks_its_arbiter_loses_nothing(broker: Broker) {
    const COUNT: usize = 20;
    let producer = producer(&broker).await;
    let (log, handled) = (WireLog::default(), Arc::default());
    let (of_handler, of_consumer) = (Arbiter::new(), Arbiter::new());
    let worker = Worker {
        log: log.clone(),
        handled: Arc::clone(&handled),
    };
    let worker = Worker::start_in_arbiter(&of_handler.handle(), |_| worker);
    let config = config(&broker).await.max_in_flight(10);
    let config = config.connector(log.clone());
    let config = config
        .heartbeat_interval(Duration::from_secs(scaled(1, 30)))
        .msg_timeout(Duration::from_secs(scaled(1, 20)));
    let consumer = Consumer::start_in_arbiter(
        &of_consumer.handle(),
        config.build().unwrap(),
        subscription(),
        worker.recipient::<IncomingMessage>(),
    );
    until_subscribed(&consumer).await;
    publish_all(&producer, 0..COUNT).await.assert_all_ok();
    until("all are handled", async || {
        handled.lock().unwrap().len() == COUNT
    })
    .await;
    until("nsqd has no message left", async || {
        broker.channel(TOPIC, CHANNEL).await == ChannelState::default()
    })
    .await;
    let stats = stats(&consumer).await;
    assert!(drain(&consumer).await.is_clean());
    eprintln!("{}: {:?}", broker.kind(), stats.counters);
    assert_eq!(
        (stats.nsqds[0].connects, stats.nsqds[0].disconnects),
        (1, 0)
    );
    // A real nsqd finds timeouts of a channel from its sixth second on.
    let is_redelivered = stats.counters.attached > 0;
    assert!(is_redelivered || (broker.kind() == Kind::Real && !full()));
    assert_eq!(stats.counters.started, COUNT as u64);
    let handled = handled.lock().unwrap();
    assert!(handled.values().all(|times| *times == 1), "{handled:?}");
    let mut answered_by_handlers = HashSet::new();
    for (_, event) in log.events() {
        match event {
            Event::Handled(delivery) => drop(answered_by_handlers.insert(delivery.id)),
            Event::Answered(_, id) => assert!(answered_by_handlers.contains(&id), "{id:?}"),
            _ => {}
        }
    }
    of_handler.stop();
    of_consumer.stop();
}
