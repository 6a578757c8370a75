//! Real sockets that give and take a few bytes at a time: what is said is the same, and so are the answers.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use actix_nsq::actix::Addr;
use actix_nsq::{Delivery, ErrorKind, MultiPublish, Producer, ProducerConfig, Publish};
use futures::future::join_all;

use super::load::{start, topic};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::Broker;
use crate::support::chaos::{self, ChaosProxy, Faults};
use crate::support::record::Record;

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        a_session_in_pieces_of_any_size_is_stored_byte_by_byte,
        answers_that_trickle_in_are_each_callers_own,
        a_corrupted_answer_is_believed_by_nobody,
    ]
}

/// Sizes around what is copied and what is shared, and one of many pieces.
const SIZES: [usize; 8] = [30, 1_000, 4_095, 4_096, 4_097, 9_000, 31, 32];

fn faults(list: &str) -> Faults {
    list.parse().unwrap_or_else(|why| panic!("{why}"))
}

async fn proxy(broker: &Broker, list: &str) -> ChaosProxy {
    ChaosProxy::start(broker.address().await, faults(list), chaos::seed()).unwrap()
}

/// A record of publishes of one topic, each told apart by its body.
struct Campaign {
    topic: &'static str,
    publisher: usize,
    record: RefCell<Record>,
}

impl Campaign {
    fn new(topic: &'static str) -> Self {
        let mut record = Record::new();
        Self {
            topic,
            publisher: record.publisher(topic),
            record: record.into(),
        }
    }

    /// Publishes in one breath, alone and in batches; how many were answered `Ok`.
    async fn publish(&self, producer: &Addr<Producer>, batches: &[&[usize]]) -> usize {
        let answers = batches.iter().map(|sizes| async move {
            let (ids, bodies): (Vec<_>, Vec<_>) = {
                let mut record = self.record.borrow_mut();
                let sizes = sizes.iter();
                sizes
                    .map(|size| record.offer(self.publisher, *size))
                    .unzip()
            };
            let answer = match &bodies[..] {
                [body] => {
                    producer
                        .send(Publish::new(topic(self.topic), body.clone()))
                        .await
                }
                _ => {
                    producer
                        .send(MultiPublish::new(topic(self.topic), bodies))
                        .await
                }
            };
            let answer = answer.expect("the producer lives");
            for id in ids {
                self.record.borrow_mut().answer(id, &answer);
            }
            usize::from(answer.is_ok())
        });
        join_all(answers).await.into_iter().sum()
    }

    async fn judge(self, broker: &Broker) {
        let record = self.record.into_inner();
        let bodies = broker.bodies(self.topic, record.ok_in(self.topic)).await;
        let found = bodies.iter().map(|body| (self.topic, &body[..]));
        record.judge(found).assert_clean();
    }
}

/// fault: P8
async fn a_session_in_pieces_of_any_size_is_stored_byte_by_byte(broker: Broker) {
    let campaign = Campaign::new("pieces");
    for list in [
        "slice=1",
        "slice=1..7",
        "slice=1..100",
        "slice-down=1,slice-up=4096",
    ] {
        let proxy = proxy(&broker, list).await;
        proxy.start_recording();
        let producer = start(ProducerConfig::builder(proxy.address().to_string()));
        for _ in 0..3 {
            let alone = SIZES.iter().map(std::slice::from_ref);
            let batches: Vec<_> = alone.chain([&SIZES[..], &SIZES[4..]]).collect();
            let ok = campaign.publish(&producer, &batches).await;
            assert_eq!(ok, batches.len(), "{list}");
        }
        // The control: it came in pieces.
        let record = proxy.record();
        let most = |pieces: &[usize]| pieces.iter().max().copied();
        let (up, down) = (most(&record[0].up.pieces), most(&record[0].down.pieces));
        let sizes = |way: chaos::Way| way.slice.map(|(_, most)| most);
        let asked = faults(list);
        assert!(up <= sizes(asked.up) && down <= sizes(asked.down), "{list}");
        assert_eq!(record.len(), 1, "{list}: one connection is enough");
    }
    campaign.judge(&broker).await;
}

/// fault: P15
async fn answers_that_trickle_in_are_each_callers_own(broker: Broker) {
    let campaign = Campaign::new("pieces");
    let proxy = proxy(&broker, "none").await;
    let producer = start(ProducerConfig::builder(proxy.address().to_string()).publish_window(3));
    campaign.publish(&producer, &[&[30]]).await;
    proxy.set(faults("bandwidth-down=100B/s,bandwidth-up=10kB/s"));
    let began = Instant::now();
    let single: &[usize] = &[30];
    assert_eq!(campaign.publish(&producer, &[single; 20]).await, 20);
    // An answer has 10 bytes, and so 100 ms; what is folded needs fewer.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(100), "{took:?}");
    // What was slow is no longer so, on the same connection.
    proxy.set(Faults::default());
    assert_eq!(campaign.publish(&producer, &[single; 200]).await, 200);
    assert_eq!(proxy.counts().connections, 1);
    campaign.judge(&broker).await;
}

/// A byte of an answer comes as another one, whichever: the connection is left, and nobody is told `Ok` by what is none.
/// fault: P18
async fn a_corrupted_answer_is_believed_by_nobody(broker: Broker) {
    let campaign = Campaign::new("pieces");
    let answer = {
        let proxy = proxy(&broker, "none").await;
        proxy.start_recording();
        let producer = start(ProducerConfig::builder(proxy.address().to_string()));
        assert_eq!(campaign.publish(&producer, &[&[30]]).await, 1);
        proxy.record()[0].down.said.len()
    };
    // The last ten bytes are the answer: 4 of its size, 4 of its type, and OK.
    for place in answer - 10..answer {
        let proxy = proxy(&broker, &format!("corrupt-down={place},times=1")).await;
        let config = ProducerConfig::builder(proxy.address().to_string())
            .reconnect_backoff(Duration::from_millis(1))
            .ack_timeout(Duration::from_millis(500));
        let producer = start(config);
        let (id, body) = campaign.record.borrow_mut().offer(campaign.publisher, 30);
        let message = Publish::new(topic(campaign.topic), body);
        let answer = producer.send(message).await.unwrap();
        let error = answer.as_ref().expect_err("its OK was not one");
        assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{proxy}: {error}");
        assert_eq!(error.delivery(), Delivery::MaybeWritten, "{proxy}: {error}");
        campaign.record.borrow_mut().answer(id, &answer);
        // The next connection is a good one.
        assert_eq!(campaign.publish(&producer, &[&[30]]).await, 1, "{proxy}");
        assert_eq!(proxy.counts().connections, 2, "{proxy}");
    }
    campaign.judge(&broker).await;
}
