//! Plays the sessions of a scenario on one broker, and compares all answers at its end.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use actix_nsq::{ProducerConfig, ProducerConfigBuilder, producer::Drain};
use futures::StreamExt;
use futures::future::join_all;

use super::session::{Played, Session};
use crate::fixture::start;
use crate::load::audit;
use crate::support::broker::Broker;
use crate::support::chaos::{self, ChaosProxy, Faults};
use crate::support::record::{Id, Record};

/// A session that takes longer did not notice its cut.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Campaign<'a> {
    pub broker: &'a Broker,
    address: String,
    pub seed: u64,
    /// Sessions that are played at the same time.
    pub concurrent: usize,
    record: RefCell<Record>,
}

impl<'a> Campaign<'a> {
    pub async fn new(broker: &'a Broker) -> Self {
        // nsqd needs up to 5 s to notice a new channel with deferred messages.
        for topic in ["cuts.one", "cuts.two", "cuts.three"] {
            assert!(broker.bodies(topic, 0).await.is_empty());
        }
        Self {
            broker,
            address: broker.address().await,
            seed: chaos::seed(),
            concurrent: 8,
            record: RefCell::default(),
        }
    }

    /// A recording proxy in front of the broker.
    pub fn proxy(&self, faults: Faults) -> ChaosProxy {
        let proxy = ChaosProxy::start_apart(&self.address, faults, self.seed).unwrap();
        proxy.start_recording();
        proxy
    }

    /// Configuration of a producer that connects through a proxy.
    pub fn config(&self, proxy: &ChaosProxy) -> ProducerConfigBuilder {
        // See `ChaosProxy::start_apart`.
        let from = SocketAddr::new(proxy.address().ip(), 0);
        ProducerConfig::builder(proxy.address().to_string())
            .local_addr(from)
            .reconnect_backoff(Duration::from_millis(1))
            .max_reconnect_backoff(Duration::from_millis(20))
            .ack_timeout(ACK_TIMEOUT)
            .client_id("cuts")
            .hostname("cuts")
    }

    /// Plays a session with a new producer, until all publishes are answered.
    pub async fn play(
        &self,
        session: &Session,
        proxy: &ChaosProxy,
        configure: impl FnOnce(ProducerConfigBuilder) -> ProducerConfigBuilder,
    ) -> Played {
        let began = Instant::now();
        let producer = start(configure(self.config(proxy)));
        let (ids, bodies): (Vec<_>, Vec<_>) = {
            let mut record = self.record.borrow_mut();
            let mut publishers = HashMap::new();
            let offers = session.sends.iter().map(|send| {
                let topic = send.topic();
                let publisher = publishers.entry(topic);
                let publisher = *publisher.or_insert_with(|| record.publisher(topic));
                let sizes = send.sizes().iter();
                sizes.map(|size| record.offer(publisher, *size)).unzip()
            });
            offers
                .collect::<Vec<(Vec<_>, Vec<_>)>>()
                .into_iter()
                .unzip()
        };
        let sent = session.sends.iter().zip(&bodies);
        let sent: Vec<_> = sent
            .map(|(send, bodies)| send.send(&producer, bodies))
            .collect();
        let answers = join_all(sent).await;
        {
            let mut record = self.record.borrow_mut();
            for (ids, answer) in ids.iter().zip(&answers) {
                ids.iter().for_each(|id| record.answer(*id, answer));
            }
        }
        let timeout = Duration::from_secs(5);
        let report = producer.send(Drain { timeout }).await.expect("a report");
        assert!(report.is_clean(), "{report:?}");
        let took = began.elapsed();
        assert!(
            took < ACK_TIMEOUT,
            "{took:?}: {}, {proxy}: {answers:?}",
            session.name
        );
        Played {
            ids,
            bodies,
            answers,
        }
    }

    /// Runs `play` for all cases, several at a time.
    pub async fn concurrently<C, T>(
        &self,
        cases: impl IntoIterator<Item = C>,
        play: impl AsyncFn(C) -> T,
    ) -> Vec<T> {
        let play = &play;
        let plays = futures::stream::iter(cases).map(|case| play(case));
        plays.buffer_unordered(self.concurrent).collect().await
    }

    /// Compares all answers with what the broker stored. Returns how many messages are stored
    /// more than once, which only those in `may_repeat` may be.
    pub async fn audit(&self, may_repeat: &[Id]) -> usize {
        self.broker.until_no_client_is_left().await;
        let mut audit = audit(self.record.take(), self.broker).await;
        let duplicates = audit.duplicate.len();
        audit.duplicate.retain(|id| !may_repeat.contains(id));
        eprintln!("{audit}, seed {}", self.seed);
        audit.assert_clean();
        duplicates - audit.duplicate.len()
    }
}
