//! Everything that a connection can run through, plain or in TLS, compressed or not: what is published is stored byte by byte, and the
//! producer and nsqd agree on what they run through.

use std::time::Duration;

use actix_nsq::actix::Addr;
use actix_nsq::bytes::Bytes;
use actix_nsq::{
    Delivery, MultiPublish, Ping, Producer, ProducerConfigBuilder, Publish, PublishError,
    producer::GetStats,
};
use futures::future::join_all;

use super::load::{Load, TOPIC, config, numbered, numbers, publish, publish_all, start, topic};
use super::told::Told;
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Agreed, Broker, Settings};
use crate::support::settings::Tls;

pub fn scenarios() -> Vec<Scenario> {
    let open_to_all = || Settings {
        tls: Some(Tls::default()),
        ..Settings::default()
    };
    scenarios![
        large_bodies_are_stored_byte_by_byte_through_every_layer.with(open_to_all()),
        batches_of_5_mib_are_stored_byte_by_byte_through_every_layer.with(open_to_all()),
        ten_thousand_small_publishes_are_stored_in_order_through_every_layer.with(open_to_all()),
        an_idle_connection_lives_on_and_answers_pings_in_every_layer.with(open_to_all()),
        nsqd_and_the_producer_tell_the_same_of_every_layer.with(open_to_all()),
        killed_under_load_every_ok_is_stored_through_every_layer.with(open_to_all()),
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

    /// A producer is to run through them.
    pub fn asked(self, broker: &Broker, config: ProducerConfigBuilder) -> ProducerConfigBuilder {
        let config = match self.compression {
            Compression::None => config,
            Compression::Snappy => config.snappy(true),
            Compression::Deflate => config.deflate(true),
        };
        match self.tls {
            true => trusting(broker, config),
            false => config,
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

/// A producer is to speak TLS, and to trust the authority of this broker.
pub fn trusting(broker: &Broker, config: ProducerConfigBuilder) -> ProducerConfigBuilder {
    let authority = broker.certificates().authority();
    config.tls_v1(true).tls_root_ca_file(authority)
}

async fn producer(broker: &Broker, layers: Layers) -> Addr<Producer> {
    start(layers.asked(broker, config(broker).await))
}

/// As hard to compress as can be, and again by its seed.
fn random(seed: u64, size: usize) -> Bytes {
    let mut body = vec![0; size];
    fastrand::Rng::with_seed(seed).fill(&mut body);
    body.into()
}

/// As easy to compress as can be.
fn zeros(size: usize) -> Bytes {
    vec![0; size].into()
}

const MIB: usize = 1 << 20;

/// fault: T9
/// checklist: 24, 96, 97, 98, 99
async fn large_bodies_are_stored_byte_by_byte_through_every_layer(broker: Broker) {
    let (mut seed, mut bodies) = (0, Vec::new());
    for layers in Layers::ALL {
        let producer = producer(&broker, layers).await;
        let mut sent = Vec::new();
        for body in [
            random(seed, MIB),
            zeros(MIB),
            random(seed, MIB - 1),
            zeros(1),
        ] {
            sent.push(producer.send(Publish::new(topic(TOPIC), body.clone())));
            bodies.push(body);
        }
        for answer in join_all(sent).await {
            answer
                .unwrap()
                .unwrap_or_else(|e| panic!("{layers:?}: {e}"));
        }
        seed += 1;
    }
    assert_eq!(broker.handshakes().await, Layers::ALL.len());
    assert_stored(&broker, bodies).await;
}

/// fault: T9
/// checklist: 24, 96, 97, 98, 99
async fn batches_of_5_mib_are_stored_byte_by_byte_through_every_layer(broker: Broker) {
    let mut bodies = Vec::new();
    for layers in Layers::ALL {
        let producer = producer(&broker, layers).await;
        // With the count and five lengths, exactly what nsqd takes by default.
        let last = random(9, MIB - 4 - 5 * 4);
        let batch = [random(7, MIB), zeros(MIB), random(8, MIB), zeros(MIB), last];
        bodies.extend(batch.clone());
        let answer = producer.send(MultiPublish::new(topic(TOPIC), batch)).await;
        answer
            .unwrap()
            .unwrap_or_else(|e| panic!("{layers:?}: {e}"));
    }
    assert_eq!(broker.handshakes().await, Layers::ALL.len());
    assert_stored(&broker, bodies).await;
}

async fn assert_stored(broker: &Broker, bodies: Vec<Bytes>) {
    let stored = broker.bodies(TOPIC, bodies.len()).await;
    assert_eq!(stored.len(), bodies.len());
    for (place, (stored, body)) in stored.iter().zip(&bodies).enumerate() {
        // Not by `assert_eq`, which would print them.
        assert!(stored == body, "body {place} is not what was published");
    }
}

/// fault: T9
/// checklist: 24, 96, 97, 98, 99
async fn ten_thousand_small_publishes_are_stored_in_order_through_every_layer(broker: Broker) {
    const EACH: usize = 10_000;
    for (place, layers) in Layers::ALL.into_iter().enumerate() {
        // Each a command by itself, as many under way as may be; and then folded as usual.
        for (half, batching) in [(0, false), (1, true)] {
            let config = layers.asked(&broker, config(&broker).await);
            let producer = start(config.auto_batch(batching).max_pending(EACH));
            let first = (2 * place + half) * EACH / 2;
            let answers = publish_all(&producer, first..first + EACH / 2).await;
            answers.assert_all_ok();
        }
    }
    assert_eq!(broker.handshakes().await, 2 * Layers::ALL.len());
    let all = Layers::ALL.len() * EACH;
    let stored = broker.bodies(TOPIC, all).await;
    assert_eq!(numbers(&stored), Vec::from_iter(0..all));
}

/// fault: T9
/// checklist: 24, 96, 97, 98, 99
async fn an_idle_connection_lives_on_and_answers_pings_in_every_layer(broker: Broker) {
    let live = |layers: Layers| {
        let broker = &broker;
        async move {
            let config = layers.asked(broker, config(broker).await);
            let producer = start(config.heartbeat_interval(Duration::from_secs(1)));
            publish(&producer, numbered(0)).await?;
            // Nothing tells the passing of idle time but time; nsqd gives up on who is silent for 2 s.
            tokio::time::sleep(Duration::from_millis(4_500)).await;
            ping(&producer).await?;
            publish(&producer, numbered(1)).await?;
            ping(&producer).await?;
            assert_eq!(producer.send(GetStats).await?.connects, 1, "{layers:?}");
            Ok::<_, PublishError>(())
        }
    };
    for (layers, lived) in Layers::ALL
        .iter()
        .zip(join_all(Layers::ALL.map(live)).await)
    {
        lived.unwrap_or_else(|e| panic!("{layers:?}: {e}"));
    }
    assert_eq!(broker.bodies(TOPIC, 12).await.len(), 12);
}

async fn ping(producer: &Addr<Producer>) -> Result<(), PublishError> {
    let timeout = Duration::from_secs(10);
    producer.send(Ping { timeout }).await?
}

/// fault: T9
/// checklist: 24, 96, 97, 98, 99
async fn nsqd_and_the_producer_tell_the_same_of_every_layer(broker: Broker) {
    for layers in Layers::ALL {
        let producer = producer(&broker, layers).await;
        let told = Told::by(&producer);
        publish(&producer, "hello").await.unwrap();
        told.until_connected(1).await;
        let (negotiated, auth) = told.connected().remove(0);
        let told = Agreed {
            tls: negotiated.tls_v1,
            snappy: negotiated.snappy,
            deflate: negotiated.deflate,
            identity: auth.map(|auth| auth.identity),
        };
        assert_eq!(told, layers.agreed());
        assert_eq!(broker.agreed().await, [layers.agreed()]);
        drop(producer);
        broker.until_no_client_is_left().await;
    }
}

/// fault: T9
/// checklist: 24, 96, 97, 98, 99
async fn killed_under_load_every_ok_is_stored_through_every_layer(broker: Broker) {
    for layers in Layers::ALL {
        let producer = producer(&broker, layers).await;
        let load = Load::start(&producer, 32);
        for _ in 0..3 {
            load.until_more_ok(200).await;
            broker.kill().await;
            broker.restart().await;
        }
        load.until_more_ok(200).await;
        let answers = load.stop().await;
        let unknown = answers.failed(Delivery::MaybeWritten);
        eprintln!("{layers:?}: {} ok, {unknown} unknown", answers.ok());
        answers.assert_true_of(&broker.bodies(TOPIC, answers.ok()).await);
        broker.delete_topic(TOPIC).await;
    }
}
