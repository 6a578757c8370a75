//! Every combination of TLS and compression: messages are stored unchanged, and the producer and
//! nsqd report the same layers.

use std::time::Duration;

use actix_nsq::actix::Addr;
use actix_nsq::bytes::Bytes;
use actix_nsq::{
    ConsumerConfigBuilder, Delivery, MultiPublish, Ping, Producer, ProducerConfigBuilder, Publish,
    PublishError,
};
use futures::future::join_all;

use super::event_log::EventLog;
use super::fixture::{
    Answers, LONG, TOPIC, assert_stored, config, numbered, publish, publish_all, start, stats,
    stats_once, topic,
};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Agreed, Broker, Settings};
use crate::support::scaled;
use crate::support::settings::Tls;

pub fn scenarios() -> Vec<Scenario> {
    let with_tls = || Settings::tls(Tls::default());
    scenarios![
        large_bodies_are_stored_unchanged_in_every_layer.with(with_tls()),
        small_messages_are_stored_in_order_in_every_layer.with(with_tls()),
        idle_connection_answers_pings_in_every_layer.with(with_tls()),
        nsqd_and_producer_report_the_same_layers.with(with_tls()),
        killed_nsqd_has_stored_every_ok_in_every_layer.with(with_tls()),
    ]
}

/// What a connection runs through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    pub tls: bool,
    pub compression: Compression,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Snappy,
    Deflate,
}

impl Layers {
    const fn new(tls: bool, compression: Compression) -> Self {
        Self { tls, compression }
    }

    pub const ALL: [Self; 6] = [
        Self::new(false, Compression::None),
        Self::new(false, Compression::Snappy),
        Self::new(false, Compression::Deflate),
        Self::new(true, Compression::None),
        Self::new(true, Compression::Snappy),
        Self::new(true, Compression::Deflate),
    ];

    /// Asks for these layers.
    pub fn configure(
        self,
        broker: &Broker,
        config: ProducerConfigBuilder,
    ) -> ProducerConfigBuilder {
        let config = match self.compression {
            Compression::None => config,
            Compression::Snappy => config.snappy(true),
            Compression::Deflate => config.deflate(true),
        };
        if self.tls {
            trusting(broker, config)
        } else {
            config
        }
    }

    /// Asks for these layers.
    pub fn configure_consumer(
        self,
        broker: &Broker,
        config: ConsumerConfigBuilder,
    ) -> ConsumerConfigBuilder {
        let config = match self.compression {
            Compression::None => config,
            Compression::Snappy => config.snappy(true),
            Compression::Deflate => config.deflate(true),
        };
        if self.tls {
            let authority = broker.certificates().authority();
            config.tls_v1(true).tls_root_ca_file(authority)
        } else {
            config
        }
    }

    fn agreed(self) -> Agreed {
        Agreed {
            tls: self.tls,
            snappy: self.compression == Compression::Snappy,
            deflate: self.compression == Compression::Deflate,
            identity: None,
        }
    }
}

/// Asks for TLS and trusts the authority of this broker.
pub fn trusting(broker: &Broker, config: ProducerConfigBuilder) -> ProducerConfigBuilder {
    let authority = broker.certificates().authority();
    config.tls_v1(true).tls_root_ca_file(authority)
}

async fn producer(broker: &Broker, layers: Layers) -> Addr<Producer> {
    start(layers.configure(broker, config(broker).await))
}

/// Not compressible.
fn random(seed: u64, size: usize) -> Bytes {
    let mut body = vec![0; size];
    fastrand::Rng::with_seed(seed).fill(&mut body);
    body.into()
}

/// Well compressible.
fn zeros(size: usize) -> Bytes {
    vec![0; size].into()
}

/// fault: T9
/// checklist: 24, 96, 97, 98, 99
async fn large_bodies_are_stored_unchanged_in_every_layer(broker: Broker) {
    const MIB: usize = 1 << 20;
    for layers in Layers::ALL {
        let producer = producer(&broker, layers).await;
        let single = [random(1, MIB), zeros(MIB), zeros(1)];
        let sent = single
            .iter()
            .map(|body| producer.send(Publish::new(topic(TOPIC), body.clone())));
        for answer in join_all(sent).await {
            answer
                .unwrap()
                .unwrap_or_else(|e| panic!("{layers:?}: {e}"));
        }
        // With the count and five lengths, the largest body that nsqd accepts by default.
        let last = random(9, MIB - 4 - 5 * 4);
        let batch = [random(7, MIB), zeros(MIB), zeros(MIB), zeros(MIB), last];
        let message = MultiPublish::new(topic(TOPIC), batch.clone());
        let answer = producer.send(message).await.unwrap();
        answer.unwrap_or_else(|e| panic!("{layers:?}: {e}"));
        assert_eq!(stats(&producer).await.connects, 1);

        let stored = broker.bodies(TOPIC, 8).await;
        // Not `assert_eq`, which would print the bodies.
        assert!(
            stored.iter().eq(single.iter().chain(&batch)),
            "{layers:?}: a body differs"
        );
        broker.delete_topic(TOPIC).await;
    }
}

/// fault: T9
/// checklist: 24, 96, 97, 98, 99
async fn small_messages_are_stored_in_order_in_every_layer(broker: Broker) {
    let each = scaled(500, 5_000);
    let mut next = 0;
    for layers in Layers::ALL {
        for batching in [false, true] {
            let config = layers.configure(&broker, config(&broker).await);
            let producer = start(config.auto_batch(batching));
            publish_all(&producer, next..next + each)
                .await
                .assert_all_ok();
            next += each;
        }
    }
    assert_eq!(broker.handshakes().await, 2 * Layers::ALL.len());
    assert_stored(&broker, 0..next).await;
}

/// nsqd closes a connection that was silent for 2 s.
/// fault: T9
/// checklist: 24, 96, 97, 98, 99
async fn idle_connection_answers_pings_in_every_layer(broker: Broker) {
    let ping = async |producer: &Addr<Producer>| -> Result<(), PublishError> {
        producer.send(Ping { timeout: LONG }).await?
    };
    let idle = async |layers: Layers| {
        let config = layers.configure(&broker, config(&broker).await);
        let producer = start(config.heartbeat_interval(Duration::from_secs(1)));
        publish(&producer, numbered(0)).await?;
        tokio::time::sleep(Duration::from_millis(3_500)).await;
        ping(&producer).await?;
        publish(&producer, numbered(1)).await?;
        ping(&producer).await?;
        assert_eq!(stats(&producer).await.connects, 1, "{layers:?}");
        Ok::<_, PublishError>(())
    };
    let ended = join_all(Layers::ALL.map(idle)).await;
    for (layers, ended) in Layers::ALL.iter().zip(ended) {
        ended.unwrap_or_else(|e| panic!("{layers:?}: {e}"));
    }
    assert_eq!(broker.bodies(TOPIC, 12).await.len(), 12);
}

/// fault: T9
/// checklist: 24, 96, 97, 98, 99
async fn nsqd_and_producer_report_the_same_layers(broker: Broker) {
    for layers in Layers::ALL {
        let producer = producer(&broker, layers).await;
        let events = EventLog::of(&producer);
        publish(&producer, "hello").await.unwrap();
        events.until_connected(1).await;
        let (negotiated, auth) = events.connected().remove(0);
        let reported = Agreed {
            tls: negotiated.tls_v1,
            snappy: negotiated.snappy,
            deflate: negotiated.deflate,
            identity: auth.map(|auth| auth.identity),
        };
        assert_eq!(reported, layers.agreed());
        assert_eq!(broker.agreed().await, [layers.agreed()]);
        drop(producer);
        broker.until_no_client_is_left().await;
    }
}

/// fault: T9
/// checklist: 24, 96, 97, 98, 99
async fn killed_nsqd_has_stored_every_ok_in_every_layer(broker: Broker) {
    const EACH: usize = 3_000;
    let mut producers = Vec::new();
    for layers in Layers::ALL {
        let config = layers.configure(&broker, config(&broker).await);
        producers.push(start(config.publish_window(100)));
    }
    let numbered = producers.iter().enumerate();
    let publishes = numbered
        .map(|(number, producer)| publish_all(producer, number * EACH..(number + 1) * EACH));
    let kill = async {
        for ok in [300, 600] {
            stats_once(&producers[0], "publishes are stored", |stats| {
                stats.ok >= ok
            })
            .await;
            broker.kill().await;
            broker.restart().await;
        }
    };
    let (answered, ()) = tokio::join!(join_all(publishes), kill);
    let mut answers = Answers::default();
    answered.into_iter().for_each(|it| answers.merge(it));
    assert_eq!(answers.failed(Delivery::NotWritten), 0);
    let ambiguous = answers.failed(Delivery::MaybeWritten);
    assert!(
        ambiguous <= 2 * producers.len() * 100,
        "{ambiguous} are ambiguous"
    );
    answers.assert_agree_with(&broker.bodies(TOPIC, answers.ok()).await);
}
