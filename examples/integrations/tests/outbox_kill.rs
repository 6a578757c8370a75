//! The program `outbox` is killed with SIGKILL again and again: no order is missing in nsqd.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use actix_nsq::embedded::EmbeddedNsqd;
use integrations::outbox::{Envelope, IN_FLIGHT};
use serde::Deserialize;
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};

use self::support::{
    nsqd,
    raw_client::{self, Access},
    real_nsqd::{DURABLE, RealNsqd},
    wait::{self, PATIENCE},
};

mod support;

const KILLS: usize = 20;
const SEED: u64 = 16;

/// A program that runs until it is killed has more orders than it can store.
const ENDLESS: u64 = u64::MAX;

#[derive(Deserialize)]
struct Order {
    id: i64,
    item: String,
}

enum Nsqd {
    Real(RealNsqd),
    Embedded(EmbeddedNsqd),
}

impl Nsqd {
    /// A real nsqd if there is one.
    fn start() -> Self {
        match nsqd() {
            Some(nsqd) => Self::Real(RealNsqd::start_program(nsqd, None, DURABLE).unwrap()),
            None => Self::Embedded(EmbeddedNsqd::start().unwrap()),
        }
    }

    fn address(&self) -> String {
        match self {
            Self::Real(nsqd) => nsqd.address(),
            Self::Embedded(nsqd) => nsqd.address().to_string(),
        }
    }

    /// Stops the process of nsqd, or continues it.
    fn suspend(&self, on: bool) {
        match self {
            Self::Real(nsqd) if on => nsqd.sigstop().unwrap(),
            Self::Real(nsqd) => nsqd.sigcont().unwrap(),
            Self::Embedded(nsqd) => nsqd.faults().freeze(on),
        }
    }

    /// The bodies of all messages of the topic.
    fn bodies(&self, expected: usize) -> Vec<Vec<u8>> {
        match self {
            Self::Real(nsqd) => {
                let mut bodies = Vec::new();
                let take = |_, body| bodies.push(body);
                let address = nsqd.address();
                let left = || nsqd.unfinished("orders").ok();
                raw_client::drain(&Access::default(), &address, "orders", expected, left, take)
                    .unwrap();
                bodies
            }
            Self::Embedded(nsqd) => {
                let messages = nsqd.messages("orders").into_iter();
                messages.map(|message| message.body.to_vec()).collect()
            }
        }
    }
}

/// Starts the program, which stores this number of orders.
fn outbox(database: &Path, nsqd: &Nsqd, orders: u64) -> Child {
    let log = database.with_extension("log");
    let log = File::options().create(true).append(true).open(log).unwrap();
    Command::new(env!("CARGO_BIN_EXE_outbox"))
        .arg("--database")
        .arg(database)
        .args(["--nsqd-tcp-address", &nsqd.address()])
        .args(["--orders", &orders.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Runs the program until it has stored `orders`, and kills it after `delay`. Suspends nsqd after
/// `before_suspended` orders, so that rows are in flight when the program is killed. Returns the
/// ids of the orders that the program has printed.
fn run_and_kill(
    mut child: Child,
    nsqd: &Nsqd,
    before_suspended: Option<usize>,
    orders: usize,
    delay: Duration,
) -> Vec<i64> {
    let lines = lines(child.stdout.take().unwrap());
    let mut printed = Vec::new();
    for stored in 0..=orders {
        if before_suspended == Some(stored) {
            nsqd.suspend(true);
        }
        if stored < orders {
            let line = lines.recv_timeout(PATIENCE);
            printed.push(line.expect("the program stores the next order"));
        }
    }
    // The program goes on meanwhile, so the kill comes at any point of its work.
    thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
    nsqd.suspend(false);
    printed.extend(lines);
    // The last line may be incomplete.
    let complete = printed.iter().filter_map(|line| {
        let id = line.strip_prefix("order ")?.strip_suffix(" is stored")?;
        Some(id.parse().unwrap())
    });
    complete.collect()
}

/// The lines of a child's output as they arrive.
fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(output).lines();
        lines
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    receiver
}

/// The orders, and the ids of the rows that are not published, in the order in which they will be.
async fn read(database: &Path) -> (HashMap<i64, String>, Vec<i64>) {
    let options = SqliteConnectOptions::new().filename(database);
    let mut connection = options.connect().await.unwrap();
    let orders: Vec<(i64, String)> = sqlx::query_as("SELECT id, item FROM orders")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let pending = sqlx::query_scalar("SELECT id FROM outbox ORDER BY id")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    (orders.into_iter().collect(), pending)
}

#[actix::test]
async fn killed_outbox_loses_no_order() {
    let nsqd = Nsqd::start();
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("orders.db");
    let mut random = fastrand::Rng::with_seed(SEED);

    let mut printed = Vec::new();
    // How often each row may be stored. A round publishes the oldest `IN_FLIGHT` rows, and a row
    // that nsqd has stored stays until the round is settled. So a kill adds one copy at most, and
    // only of the rows that are the oldest after it.
    let mut allowed: HashMap<i64, usize> = HashMap::new();
    for kill in 0..KILLS {
        // Later runs are also killed while they start.
        let orders = random.usize(usize::from(kill == 0)..400);
        let delay = Duration::from_micros(random.u64(0..20_000));
        // Not, before the program connects, or at any time later.
        let moments = [None, Some(0), Some(random.usize(0..=orders))];
        let before_suspended = random.choice(moments).flatten();
        let child = outbox(&database, &nsqd, ENDLESS);
        printed.extend(run_and_kill(child, &nsqd, before_suspended, orders, delay));
        let (_, pending) = read(&database).await;
        for id in pending.into_iter().take(IN_FLIGHT as usize) {
            *allowed.entry(id).or_default() += 1;
        }
    }
    // The last run publishes what is left.
    let mut child = outbox(&database, &nsqd, 0);
    let status = wait::poll(PATIENCE, || child.try_wait().unwrap()).expect("the program ends");
    let log = std::fs::read_to_string(database.with_extension("log")).unwrap();
    assert!(status.success(), "{status}\n{log}");

    let (orders, pending) = read(&database).await;
    assert_eq!(pending, [0; 0], "rows are left");
    let mut copies: HashMap<i64, usize> = HashMap::new();
    let mut rows: HashMap<i64, i64> = HashMap::new();
    for body in nsqd.bodies(orders.len()) {
        let Envelope { id, payload } = serde_json::from_slice::<Envelope<Order>>(&body).unwrap();
        assert_eq!(
            orders.get(&payload.id),
            Some(&payload.item),
            "message without an order"
        );
        assert_eq!(
            *rows.entry(payload.id).or_insert(id),
            id,
            "one row for each order"
        );
        *copies.entry(id).or_default() += 1;
    }
    let missing = orders.keys().filter(|id| !rows.contains_key(id)).count();
    let unstored = printed.iter().filter(|id| !orders.contains_key(id)).count();
    let duplicates: usize = copies.values().map(|count| count - 1).sum();
    // Rows whose result was ambiguous or negative; none, unless the machine is very slow.
    let retried: usize = log.lines().filter_map(published_again).sum();
    let bound = allowed.values().sum::<usize>() + retried;
    let kind = match nsqd {
        Nsqd::Real(_) => "real",
        Nsqd::Embedded(_) => "embedded",
    };
    println!(
        "{KILLS} kills, {kind} nsqd: {} orders, {missing} missing, {duplicates} duplicates of at \
         most {bound} in flight at the kills ({retried} retried)",
        orders.len(),
    );
    assert_eq!((missing, unstored), (0, 0));
    assert!(
        duplicates <= bound,
        "{duplicates} duplicates, more than {bound}"
    );
    for (id, count) in copies {
        let allowed = allowed.get(&id).copied().unwrap_or_default() + retried;
        assert!(
            count - 1 <= allowed,
            "row {id}: stored {count} times, {allowed} kills in flight"
        );
    }
}

/// The number of rows in a line of the program's log.
fn published_again(line: &str) -> Option<usize> {
    let is_retry = line.contains("messages are published again");
    let (_, count) = line.rsplit_once("count=").filter(|_| is_retry)?;
    count.parse().ok()
}
