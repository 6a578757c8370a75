//! Stores orders in SQLite and publishes them by an outbox.
//!
//! ```sh
//! cargo run --bin outbox                 # a database and an nsqd inside this process
//! cargo run --bin outbox -- --database orders.db --nsqd-tcp-address 127.0.0.1:4150 --orders 1000
//! ```
//!
//! Kill it at any moment and start it again: no order is missing in nsqd.

use std::{error::Error, path::PathBuf, time::Duration};

use actix_nsq::{Producer, ProducerConfig, Topic, embedded::EmbeddedNsqd, producer::Drain};
use clap::Parser;
use futures::{TryStreamExt, stream};
use integrations::outbox::{Outbox, OutboxError};
use serde::Serialize;
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::time::sleep;

/// Stores orders, and publishes them to the topic "orders".
#[derive(Parser)]
struct Flags {
    /// File of the database; by default it is in memory
    #[arg(long)]
    database: Option<PathBuf>,
    /// nsqd; by default one inside this process
    #[arg(long)]
    nsqd_tcp_address: Option<String>,
    /// Number of orders to store; the program ends when all are published
    #[arg(long, default_value_t = 10)]
    orders: u64,
}

const ORDERS: Topic = Topic::from_static("orders");

/// Number of orders that are stored at the same time, as by the requests of a server.
const CALLERS: usize = 16;

#[derive(Serialize)]
struct Order {
    id: i64,
    item: &'static str,
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let flags = Flags::parse();
    let embedded = match flags.nsqd_tcp_address {
        Some(_) => None,
        None => Some(EmbeddedNsqd::start()?),
    };
    let embedded_address = embedded.as_ref().map(|nsqd| nsqd.address().to_string());
    let address = flags.nsqd_tcp_address.or(embedded_address);
    let producer = Producer::start(ProducerConfig::new(address.unwrap_or_default())?);

    let pool = open(flags.database).await?;
    let outbox = Outbox::open(pool.clone()).await?;
    tokio::select! {
        result = outbox.relay(&producer) => result?,
        result = place_orders(&pool, &outbox, flags.orders) => result?,
    }

    let timeout = Duration::from_secs(5);
    println!("drained: {}", producer.send(Drain { timeout }).await?);
    pool.close().await;
    Ok(())
}

/// Opens the database of the application.
async fn open(database: Option<PathBuf>) -> Result<SqlitePool, sqlx::Error> {
    let options = match database {
        Some(file) => SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            // A committed transaction survives a crash of the machine.
            .synchronous(SqliteSynchronous::Full)
            .journal_mode(SqliteJournalMode::Wal),
        None => SqliteConnectOptions::new().in_memory(true),
    };
    // SQLite has one writer at a time. With one connection the application and the relay take
    // turns; with two they would wait for SQLite's lock, which has no queue.
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None);
    let pool = pool.connect_with(options).await?;
    let table = "CREATE TABLE IF NOT EXISTS orders (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        item TEXT NOT NULL
    )";
    sqlx::query(table).execute(&pool).await?;
    Ok(pool)
}

async fn place_orders(pool: &SqlitePool, outbox: &Outbox, count: u64) -> Result<(), OutboxError> {
    let place = async |_| {
        let id = place_order(pool, outbox, "espresso").await?;
        println!("order {id} is stored");
        Ok::<_, OutboxError>(())
    };
    let orders = stream::iter((0..count).map(Ok));
    orders.try_for_each_concurrent(CALLERS, place).await?;
    while outbox.pending().await? > 0 {
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

// begin order
/// Stores an order and its message in one transaction, and returns the id of the order.
async fn place_order(
    pool: &SqlitePool,
    outbox: &Outbox,
    item: &'static str,
) -> Result<i64, OutboxError> {
    let mut transaction = pool.begin().await?;
    let id = sqlx::query_scalar("INSERT INTO orders (item) VALUES (?) RETURNING id")
        .bind(item)
        .fetch_one(&mut *transaction)
        .await?;
    let order = Order { id, item };
    outbox.insert(&mut transaction, &ORDERS, &order).await?;
    outbox.commit(transaction).await?;
    Ok(id)
}
// end order
