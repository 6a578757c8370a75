//! What a producer says in a session, and how it is played through a proxy.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use actix_nsq::bytes::Bytes;
use actix_nsq::{
    DeferredPublish, MultiPublish, Producer, ProducerConfig, ProducerConfigBuilder, Publish,
    PublishError, producer::Drain,
};
use futures::future::{LocalBoxFuture, join_all};

use crate::load::topic;
use crate::support::chaos::ChaosProxy;
use crate::support::record::{Id, Record};

/// When it is this that finds a cut, something is wrong.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// One publish: its topic, and the size of its body or bodies.
#[derive(Clone, Copy, Debug)]
pub enum Say {
    Pub(&'static str, usize),
    Mpub(&'static str, &'static [usize]),
    Dpub(&'static str, usize),
}

impl Say {
    fn topic(&self) -> &'static str {
        match self {
            Self::Pub(topic, _) | Self::Mpub(topic, _) | Self::Dpub(topic, _) => topic,
        }
    }

    fn sizes(&self) -> &[usize] {
        match self {
            Self::Pub(_, size) | Self::Dpub(_, size) => std::slice::from_ref(size),
            Self::Mpub(_, sizes) => sizes,
        }
    }

    pub fn is_longer_than(&self, limit: usize) -> bool {
        self.sizes().iter().any(|size| *size > limit)
    }
}

/// Publishes that are offered in one breath.
#[derive(Debug)]
pub struct Session {
    pub name: &'static str,
    /// The largest body that nsqd takes.
    pub limit: usize,
    pub says: &'static [Say],
}

/// Of each publish of a session, in their order: its messages, and its answer.
#[derive(Debug)]
pub struct Played {
    pub ids: Vec<Vec<Id>>,
    pub bodies: Vec<Vec<Bytes>>,
    pub answers: Vec<Result<(), PublishError>>,
}

impl Session {
    /// Plays it with a producer of its own, until every publish is answered and the producer holds nothing any more.
    pub async fn play(
        &self,
        proxy: &ChaosProxy,
        options: impl FnOnce(ProducerConfigBuilder) -> ProducerConfigBuilder,
        record: &RefCell<Record>,
    ) -> Played {
        // See `ChaosProxy::start_apart`.
        let from = SocketAddr::new(proxy.address().ip(), 0);
        let config = ProducerConfig::builder(proxy.address().to_string())
            .local_addr(from)
            .reconnect_backoff(Duration::from_millis(1))
            .max_reconnect_backoff(Duration::from_millis(20))
            .ack_timeout(ACK_TIMEOUT)
            .client_id("cuts")
            .hostname("cuts");
        let producer = Producer::start(options(config).build().expect("a valid Config"));

        let offered = {
            let mut record = record.borrow_mut();
            let mut publishers: Vec<(&str, usize)> = Vec::new();
            let mut offer = |say: &Say| {
                let topic = say.topic();
                let known = publishers.iter().find(|(name, _)| *name == topic);
                let publisher = known.map(|(_, publisher)| *publisher).unwrap_or_else(|| {
                    let publisher = record.publisher(topic);
                    publishers.push((topic, publisher));
                    publisher
                });
                let sizes = say.sizes().iter();
                sizes.map(|size| record.offer(publisher, *size)).unzip()
            };
            let offered: Vec<(Vec<Id>, Vec<Bytes>)> = self.says.iter().map(&mut offer).collect();
            offered
        };
        let (ids, bodies): (Vec<_>, Vec<_>) = offered.into_iter().unzip();

        let said = self.says.iter().zip(&bodies).map(|(say, bodies)| {
            let (topic, body) = (topic(say.topic()), bodies[0].clone());
            let sent: LocalBoxFuture<'_, _> = match say {
                Say::Pub(..) => Box::pin(producer.send(Publish::new(topic, body))),
                Say::Mpub(..) => Box::pin(producer.send(MultiPublish::new(topic, bodies.clone()))),
                Say::Dpub(..) => {
                    let delay = Duration::from_millis(1);
                    Box::pin(producer.send(DeferredPublish::new(topic, delay, body)))
                }
            };
            sent
        });
        let answers = join_all(said).await;
        let answers = answers
            .into_iter()
            .map(|answer| answer.map_err(PublishError::from).and_then(|answer| answer));
        let answers: Vec<_> = answers.collect();
        {
            let mut record = record.borrow_mut();
            for (ids, answer) in ids.iter().zip(&answers) {
                ids.iter().for_each(|id| record.answer(*id, answer));
            }
        }
        let drain = Drain {
            timeout: Duration::from_secs(5),
        };
        let report = producer.send(drain).await.expect("a producer drains");
        assert!(report.is_clean(), "all had their answers: {report:?}");
        Played {
            ids,
            bodies,
            answers,
        }
    }
}
