//! What is refused before the wire is never said on it: every byte to nsqd is recorded and searched, and the search is shown
//! to find what was said.

use std::time::Duration;

use actix_nsq::actix::{Addr, Message, dev::ToEnvelope};
use actix_nsq::{
    DeferredPublish, Delivery, ErrorKind, MultiPublish, Producer, ProducerConfig,
    ProducerConfigBuilder, Publish, PublishError, Topic, producer::Drain,
};
use futures::future::join_all;

use super::load::{start, topic};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::Broker;
use crate::support::chaos::{ChaosProxy, Faults};

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        nothing_of_what_is_refused_here_is_on_the_wire_not_even_its_topic,
        of_a_flood_just_what_is_not_full_is_on_the_wire,
        what_comes_after_a_drain_is_not_on_the_wire,
    ]
}

const ROUNDS: usize = 100;

/// A proxy that records every byte.
async fn recorder(broker: &Broker) -> ChaosProxy {
    let proxy = ChaosProxy::start(broker.address().await, Faults::default(), 0).unwrap();
    proxy.start_recording();
    proxy
}

fn config(proxy: &ChaosProxy) -> ProducerConfigBuilder {
    ProducerConfig::builder(proxy.address().to_string())
        .max_publish_size(1_000)
        .max_batch_size(2_000)
        .max_req_timeout(Duration::from_secs(60))
}

/// Whether this was said to nsqd, on any connection.
fn was_said(proxy: &ChaosProxy, words: &str) -> bool {
    proxy.record().iter().any(|connection| {
        let said = &connection.up.said;
        let mut places = said.windows(words.len());
        places.any(|place| place == words.as_bytes())
    })
}

async fn ask<M>(producer: &Addr<Producer>, message: M) -> Result<(), PublishError>
where
    M: Message<Result = Result<(), PublishError>> + Send + 'static,
    Producer: actix_nsq::actix::Handler<M>,
    actix_nsq::actix::Context<Producer>: ToEnvelope<Producer, M>,
{
    producer.send(message).await?
}

/// Asks for what is wrong in each way there is, and says why each was refused.
async fn ask_for_everything_wrong(producer: &Addr<Producer>, round: usize) -> Vec<PublishError> {
    let secret = |what: &str| topic(&format!("unsaid.{what}.{round}"));
    let body = |size: usize| format!("{:x<size$}", format!("unsaid body {round} "));
    let (small, large) = (body(30), body(1_001));
    let no_time = Publish::new(secret("hurry"), small.clone()).expires_in(Duration::ZERO);
    let too_late = DeferredPublish::new(secret("late"), Duration::from_secs(61), small.clone());
    let deferred = DeferredPublish::new(secret("later"), Duration::ZERO, large.clone());
    let empty_member = [small.clone(), String::new(), small.clone()];
    let large_member = [small.clone(), large.clone()];
    let answers = [
        ask(producer, Publish::new(secret("large"), large)).await,
        ask(producer, Publish::new(secret("empty"), "")).await,
        ask(producer, no_time).await,
        ask(producer, too_late).await,
        ask(producer, deferred).await,
        ask(producer, MultiPublish::new(secret("some"), empty_member)).await,
        ask(producer, MultiPublish::new(secret("one"), large_member)).await,
        ask(
            producer,
            MultiPublish::new(secret("many"), vec![body(900); 3]),
        )
        .await,
        ask(
            producer,
            MultiPublish::new(secret("none"), Vec::<String>::new()),
        )
        .await,
    ];
    answers
        .into_iter()
        .enumerate()
        .map(|(place, answer)| answer.expect_err(&format!("the one at place {place} is wrong")))
        .collect()
}

/// fault: P25
async fn nothing_of_what_is_refused_here_is_on_the_wire_not_even_its_topic(broker: Broker) {
    let proxy = recorder(&broker).await;
    let producer = start(config(&proxy));
    for round in 0..ROUNDS {
        let said = |what: &str| format!("said body {round} {what}");
        let topic = |what: &str| topic(&format!("said.{what}.{round}"));
        let batch = [said("2"), said("3")];
        let (first, errors, second, third) = tokio::join!(
            ask(&producer, Publish::new(topic("pub"), said("1"))),
            ask_for_everything_wrong(&producer, round),
            ask(&producer, MultiPublish::new(topic("mpub"), batch)),
            ask(
                &producer,
                DeferredPublish::new(topic("dpub"), Duration::ZERO, said("4"))
            ),
        );
        for good in [first, second, third] {
            good.unwrap();
        }
        let kinds: Vec<_> = errors.iter().map(PublishError::kind).collect();
        let expected = [
            ErrorKind::TooLarge,
            ErrorKind::EmptyBody,
            ErrorKind::Timeout,
            ErrorKind::DelayTooLong,
            ErrorKind::TooLarge,
            ErrorKind::EmptyBody,
            ErrorKind::TooLarge,
            ErrorKind::TooLarge,
            ErrorKind::EmptyBatch,
        ];
        assert_eq!(kinds, expected);
        assert!(errors.iter().all(|e| e.delivery() == Delivery::NotWritten));
    }
    // Names that nsqd would refuse do not even become topics.
    for bad in ["unsaid name", "unsaid\nname", "unsaid.name!"] {
        assert!(bad.parse::<Topic>().is_err());
    }

    // Control: this search finds what was said, bodies and topics, of every command.
    for round in 0..ROUNDS {
        for what in ["pub", "mpub", "dpub"] {
            assert!(was_said(&proxy, &format!("said.{what}.{round}")), "{round}");
        }
        for place in 1..=4 {
            assert!(
                was_said(&proxy, &format!("said body {round} {place}")),
                "{round}"
            );
        }
    }
    assert!(!was_said(&proxy, "unsaid"));
    assert_eq!(proxy.counts().connections, 1);
}

/// fault: P25
async fn of_a_flood_just_what_is_not_full_is_on_the_wire(broker: Broker) {
    let proxy = recorder(&broker).await;
    let producer = start(config(&proxy).max_pending(100));
    let body = |number: usize| format!("flood {number:04}");
    let flood = (0..1_000).map(|number| {
        let message = Publish::new(topic("flood"), body(number));
        ask(&producer, message)
    });
    let answers = join_all(flood).await;
    let (mut ok, mut full) = (0, 0);
    for (number, answer) in answers.iter().enumerate() {
        match answer {
            Ok(()) => ok += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Full, "{error}");
                full += 1;
            }
        }
        assert_eq!(was_said(&proxy, &body(number)), answer.is_ok(), "{number}");
    }
    assert!(ok >= 100 && full > 0, "{ok} ok, {full} full");
}

/// fault: P25
async fn what_comes_after_a_drain_is_not_on_the_wire(broker: Broker) {
    let proxy = recorder(&broker).await;
    let producer = start(config(&proxy));
    ask(&producer, Publish::new(topic("before"), "body before"))
        .await
        .unwrap();
    let deadline = Duration::from_secs(5);
    producer.send(Drain { timeout: deadline }).await.unwrap();
    for _ in 0..100 {
        let refused = ask(&producer, Publish::new(topic("after"), "body after")).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Drained);
    }
    assert!(was_said(&proxy, "PUB before\n") && was_said(&proxy, "body before"));
    assert!(!was_said(&proxy, "after"));
    assert_eq!(proxy.counts().connections, 1);
}
