//! A transactional outbox: an application commits its data and a message in one transaction, and a
//! relay publishes the message. Messages are published at least once.
//!
//! Run one relay for each database. To use another database, change the queries.

use std::{sync::Arc, time::Duration};

use actix_nsq::{Delivery, ErrorKind, ErrorScope, PublishError, PublishExt, Topic};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::{Sqlite, SqlitePool, Transaction};
use tokio::{sync::Notify, time};

/// Maximum number of rows in flight: the size of an automatic batch by default. After a crash, or
/// if a round cannot be settled, at most this number of messages is published a second time.
pub const IN_FLIGHT: u32 = 256;

/// Delay before rows are published again that could not be published.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// Time after which the relay looks for rows that another process has committed.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

// `AUTOINCREMENT`: an id is never used again, although rows are deleted.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    payload TEXT NOT NULL,
    failure TEXT
)";

/// Body of a message from an outbox.
#[derive(Debug, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// Id of the row. A consumer that has handled this id before ignores the message. If several
    /// outboxes publish to one topic, add a name of the outbox.
    pub id: i64,
    /// Message of the application.
    pub payload: T,
}

/// Why an operation of the outbox failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// A query failed.
    #[error("query of the outbox failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The payload cannot be serialized as JSON.
    #[error("cannot serialize the payload as JSON: {0}")]
    Serialize(#[from] serde_json::Error),
    /// The producer accepts no publishes any more.
    #[error("the producer has stopped: {0}")]
    ProducerStopped(PublishError),
}

/// The table of messages that are not published yet.
#[derive(Debug, Clone)]
pub struct Outbox {
    pool: SqlitePool,
    committed: Arc<Notify>,
}

/// What happened to the rows of one round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    /// Rows that nsqd has stored; they are deleted.
    pub published: usize,
    /// Rows that can never be published; they are marked.
    pub failed: usize,
    /// Rows that are published again.
    pub left: usize,
}

/// What happens to a row.
enum Outcome {
    /// It is deleted.
    Published,
    /// It is marked with the reason.
    Failed(String),
    /// It is published again.
    Left(PublishError),
}

impl Outbox {
    /// Opens the outbox, and creates its table if there is none.
    pub async fn open(pool: SqlitePool) -> Result<Self, OutboxError> {
        sqlx::query(TABLE).execute(&pool).await?;
        let committed = Arc::default();
        Ok(Self { pool, committed })
    }

    // begin insert
    /// Adds a message to a transaction of the application, and returns its id.
    pub async fn insert<T: Serialize>(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
        topic: &Topic,
        payload: &T,
    ) -> Result<i64, OutboxError> {
        let insert = "INSERT INTO outbox (topic, payload) VALUES (?, ?) RETURNING id";
        let id = sqlx::query_scalar(insert)
            .bind(topic.as_str())
            .bind(serde_json::to_string(payload)?)
            .fetch_one(&mut **transaction)
            .await?;
        Ok(id)
    }

    /// Commits a transaction and wakes the relay.
    pub async fn commit(&self, transaction: Transaction<'_, Sqlite>) -> Result<(), OutboxError> {
        transaction.commit().await?;
        self.committed.notify_one();
        Ok(())
    }
    // end insert

    /// Returns the number of rows that are not published and not marked as failed.
    pub async fn pending(&self) -> Result<u64, OutboxError> {
        let count = "SELECT count(*) FROM outbox WHERE failure IS NULL";
        Ok(sqlx::query_scalar(count).fetch_one(&self.pool).await?)
    }

    // begin relay
    /// Publishes rows as they are committed, until a query fails or the producer stops.
    ///
    /// If its future is dropped, or the transaction fails that deletes published rows, the rows in
    /// flight stay, and the next relay publishes them again.
    pub async fn relay(&self, producer: &impl PublishExt) -> Result<(), OutboxError> {
        loop {
            let round = self.publish_round(producer).await?;
            if round.left > 0 {
                time::sleep(RETRY_DELAY).await;
            } else if round == Round::default() {
                // `Notify` remembers a commit that came during the round.
                let _ = time::timeout(POLL_INTERVAL, self.committed.notified()).await;
            }
        }
    }

    /// Publishes the oldest rows at the same time, and waits for all results.
    pub async fn publish_round(&self, producer: &impl PublishExt) -> Result<Round, OutboxError> {
        let oldest = "SELECT id, topic, payload FROM outbox WHERE failure IS NULL
            ORDER BY id LIMIT ?";
        let rows: Vec<(i64, String, String)> = sqlx::query_as(oldest)
            .bind(IN_FLIGHT)
            .fetch_all(&self.pool)
            .await?;
        // `publish` puts a message into the mailbox when it is called: in the order of the rows.
        let publishes = rows.into_iter().map(|(id, topic, payload)| {
            let publish = body(id, &payload).map(|body| producer.publish(topic, body));
            async move {
                match publish {
                    Ok(publish) => (id, outcome(publish.await)),
                    Err(error) => (id, Outcome::Failed(error.to_string())),
                }
            }
        });
        self.settle(join_all(publishes).await).await
    }
    // end relay

    /// Deletes published rows and marks failed ones, in one transaction.
    async fn settle(&self, outcomes: Vec<(i64, Outcome)>) -> Result<Round, OutboxError> {
        let mut round = Round::default();
        let (mut published, mut last_error) = (Vec::new(), None);
        let mut transaction = self.pool.begin().await?;
        for (id, outcome) in outcomes {
            match outcome {
                Outcome::Published => published.push(id),
                Outcome::Failed(reason) => {
                    tracing::error!(id, reason, "message of the outbox cannot be published");
                    round.failed += 1;
                    sqlx::query("UPDATE outbox SET failure = ? WHERE id = ?")
                        .bind(reason)
                        .bind(id)
                        .execute(&mut *transaction)
                        .await?;
                }
                Outcome::Left(error) => {
                    round.left += 1;
                    last_error = Some(error);
                }
            }
        }
        round.published = published.len();
        if round.published > 0 {
            sqlx::query("DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?))")
                .bind(serde_json::to_string(&published)?)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        match last_error {
            Some(error) if matches!(error.kind(), ErrorKind::Drained | ErrorKind::Closed) => {
                return Err(OutboxError::ProducerStopped(error));
            }
            Some(error) => {
                tracing::warn!(%error, count = round.left, "messages are published again");
            }
            None => {}
        }
        Ok(round)
    }
}

fn body(id: i64, payload: &str) -> Result<Vec<u8>, serde_json::Error> {
    let payload: &RawValue = serde_json::from_str(payload)?;
    serde_json::to_vec(&Envelope { id, payload })
}

// begin outcome
/// Decides what happens to a row. One that nsqd may have stored is published again: it may be
/// stored twice, but is never missing. So is one that nsqd rejects with an unknown code, until nsqd
/// accepts it: such a code does not say whether a retry can succeed.
fn outcome(result: Result<(), PublishError>) -> Outcome {
    let Err(error) = result else {
        return Outcome::Published;
    };
    let is_rejected = error.delivery() == Delivery::NotWritten && !error.is_retryable();
    match error.scope() {
        ErrorScope::Message | ErrorScope::Topic if is_rejected => {
            Outcome::Failed(error.to_string())
        }
        // The cause is nsqd or the producer.
        _ => Outcome::Left(error),
    }
}
// end outcome
