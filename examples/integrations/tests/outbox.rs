//! The relay of the outbox with an embedded nsqd.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{future::Future, time::Duration};

use actix::Addr;
use actix_nsq::{
    Producer, ProducerConfig, Topic, WaitConnected, embedded::EmbeddedNsqd, producer::Drain,
};
use integrations::outbox::{Envelope, Outbox, OutboxError, Round};
use sqlx::{SqlitePool, sqlite::SqlitePoolOptions};
use tokio::time;

const ORDERS: Topic = Topic::from_static("orders");
const TIMEOUT: Duration = Duration::from_secs(10);

struct Fixture {
    nsqd: EmbeddedNsqd,
    producer: Addr<Producer>,
    pool: SqlitePool,
    outbox: Outbox,
}

impl Fixture {
    async fn start() -> Self {
        let nsqd = EmbeddedNsqd::start().unwrap();
        let config = ProducerConfig::new(nsqd.address().to_string()).unwrap();
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect("sqlite::memory:").await.unwrap();
        Self {
            nsqd,
            producer: Producer::start(config),
            outbox: Outbox::open(pool.clone()).await.unwrap(),
            pool,
        }
    }

    async fn commit(&self, topic: &Topic, payload: &str) -> i64 {
        let mut transaction = self.pool.begin().await.unwrap();
        let id = self
            .outbox
            .insert(&mut transaction, topic, &payload)
            .await
            .unwrap();
        self.outbox.commit(transaction).await.unwrap();
        id
    }

    async fn round(&self) -> Round {
        self.outbox.publish_round(&self.producer).await.unwrap()
    }

    /// The messages of the topic, as ids and payloads.
    fn stored(&self) -> Vec<(i64, String)> {
        let messages = self.nsqd.messages("orders").into_iter();
        let envelopes = messages.map(|message| serde_json::from_slice(&message.body).unwrap());
        envelopes
            .map(|Envelope { id, payload }| (id, payload))
            .collect()
    }

    /// Runs the relay beside `work`.
    async fn relay_while<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            result = self.outbox.relay(&self.producer) => panic!("the relay has ended: {result:?}"),
            done = time::timeout(TIMEOUT, work) => done.expect("the relay publishes in time"),
        }
    }
}

fn round(published: usize, failed: usize, left: usize) -> Round {
    Round {
        published,
        failed,
        left,
    }
}

#[actix::test]
async fn rows_are_published_in_order_and_deleted() {
    let fixture = Fixture::start().await;
    let mut expected = Vec::new();
    for number in 0..300 {
        let payload = format!("order {number}");
        expected.push((fixture.commit(&ORDERS, &payload).await, payload));
    }
    assert_eq!(fixture.round().await, round(256, 0, 0));
    assert_eq!(fixture.round().await, round(44, 0, 0));
    assert_eq!(fixture.round().await, round(0, 0, 0));
    assert_eq!(fixture.stored(), expected);
    assert_eq!(fixture.outbox.pending().await.unwrap(), 0);
    // The publishes of a round share a few commands.
    let commands = fixture.nsqd.command_count("MPUB") + fixture.nsqd.command_count("PUB");
    assert!(commands < 100, "{commands} commands");
}

#[actix::test]
async fn id_of_a_deleted_row_is_not_used_again() {
    let fixture = Fixture::start().await;
    let first = fixture.commit(&ORDERS, "first").await;
    assert_eq!(fixture.round().await, round(1, 0, 0));
    assert!(fixture.commit(&ORDERS, "second").await > first);
}

#[actix::test]
async fn commit_wakes_the_relay_at_once() {
    let fixture = Fixture::start().await;
    let publish_each = async {
        for number in 1..=20 {
            fixture.commit(&ORDERS, "order").await;
            let messages = fixture.nsqd.wait_for_messages("orders", number, TIMEOUT);
            messages.await.unwrap();
        }
    };
    // By polls every 5 s it would take 100 s.
    fixture.relay_while(publish_each).await;
}

#[actix::test]
async fn row_of_another_process_is_found_by_the_poll() {
    let fixture = Fixture::start().await;
    let publish_without_wake = async {
        fixture.commit(&ORDERS, "first").await;
        // Test and relay take turns at the one connection. After these queries the relay has found
        // no row more than once, and waits.
        let mut empty = 0;
        while empty < 20 {
            empty += u32::from(fixture.outbox.pending().await.unwrap() == 0);
        }
        let second = "INSERT INTO outbox (topic, payload) VALUES ('orders', '\"second\"')";
        sqlx::query(second).execute(&fixture.pool).await.unwrap();
        let messages = fixture.nsqd.wait_for_messages("orders", 2, TIMEOUT);
        messages.await.unwrap();
    };
    fixture.relay_while(publish_without_wake).await;
}

#[actix::test]
async fn transaction_rolled_back_publishes_nothing() {
    let fixture = Fixture::start().await;
    let mut transaction = fixture.pool.begin().await.unwrap();
    fixture
        .outbox
        .insert(&mut transaction, &ORDERS, &"lost")
        .await
        .unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(fixture.round().await, round(0, 0, 0));
    assert_eq!(fixture.stored(), []);
}

#[actix::test]
async fn rejected_row_is_marked_and_blocks_no_other() {
    let fixture = Fixture::start().await;
    let large = fixture.commit(&ORDERS, &"x".repeat(2 << 20)).await;
    let small = fixture.commit(&ORDERS, "small").await;
    let names = "INSERT INTO outbox (topic, payload) VALUES ('no topic!', '1'), ('orders', '{')";
    sqlx::query(names).execute(&fixture.pool).await.unwrap();
    let last = fixture.commit(&ORDERS, "last").await;

    assert_eq!(fixture.round().await, round(2, 3, 0));
    let expected = [(small, "small".to_owned()), (last, "last".to_owned())];
    assert_eq!(fixture.stored(), expected);
    let failures: Vec<(i64, String)> = sqlx::query_as("SELECT id, failure FROM outbox ORDER BY id")
        .fetch_all(&fixture.pool)
        .await
        .unwrap();
    assert_eq!(failures[0].0, large);
    assert!(
        failures[0].1.contains("exceeds max_publish_size (1048576)"),
        "{failures:?}"
    );
    assert!(failures[1].1.contains("no topic!"), "{failures:?}");
    assert!(failures[2].1.contains("EOF"), "{failures:?}");
    assert_eq!(fixture.round().await, round(0, 0, 0));
}

#[actix::test]
async fn row_that_may_be_stored_is_published_again() {
    let fixture = Fixture::start().await;
    let id = fixture.commit(&ORDERS, "order").await;
    let timeout = TIMEOUT;
    fixture
        .producer
        .send(WaitConnected { timeout })
        .await
        .unwrap()
        .unwrap();
    fixture.nsqd.faults().stall(true);
    // nsqd stores the message, and the connection is lost before its response.
    let (first, ()) = tokio::join!(fixture.round(), async {
        fixture
            .nsqd
            .wait_for_messages("orders", 1, TIMEOUT)
            .await
            .unwrap();
        fixture.nsqd.faults().reset_connections();
        fixture.nsqd.faults().clear();
    });
    assert_eq!(first, round(0, 0, 1));
    let arrives = async {
        fixture
            .nsqd
            .wait_for_messages("orders", 2, TIMEOUT)
            .await
            .unwrap()
    };
    fixture.relay_while(arrives).await;
    let twice = (id, "order".to_owned());
    assert_eq!(fixture.stored(), [twice.clone(), twice]);
}

#[actix::test]
async fn relay_ends_when_the_producer_is_drained() {
    let fixture = Fixture::start().await;
    let drain = Drain { timeout: TIMEOUT };
    fixture.producer.send(drain).await.unwrap();
    fixture.commit(&ORDERS, "order").await;
    let result = fixture.outbox.relay(&fixture.producer).await;
    assert!(
        matches!(result, Err(OutboxError::ProducerStopped(_))),
        "{result:?}"
    );
    assert_eq!(fixture.outbox.pending().await.unwrap(), 1);
}
