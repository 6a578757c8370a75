//! The example `actix_web_publish` keeps what it has answered: under load from real HTTP connections, while a real nsqd is
//! killed and restarted, and when the server itself is asked to end.
//!
//! The full size is asked for by the environment:
//!
//! ```text
//! cargo build --release --example actix_web_publish
//! WEB_CONNECTIONS=64 WEB_KILLS=20 WEB_OK=5000 ACTIX_WEB_PUBLISH_BIN=target/release/examples/actix_web_publish \
//!     cargo test --test broker -- real::web --test-threads 1 --nocapture
//! ```

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::load::{number_of, numbered};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind};
use crate::support::real_nsqd::RealNsqd;
use crate::support::wait;
use crate::support::web_server::{Answer, HttpClient, WebServer};

const TOPIC: &str = "web";
const PATH: &str = "/publish/web";

/// The handler's time-out is 5 s; the rest is for a busy machine.
const LONGEST_ANSWER: Duration = Duration::from_secs(8);

/// A connection that lives longer than a second was a good one, after which the producer is in no doubt of nsqd: it
/// dials again at once, and not with the growing delays of one that is lost again and again.
const LIFE: Duration = Duration::from_millis(1_200);

/// 10 s for handlers in flight, and 5 s for the drain.
const LONGEST_STOP: Duration = Duration::from_secs(18);

const LONGEST: Duration = Duration::from_secs(400);

pub fn scenarios() -> Vec<Scenario> {
    let real = "it is about a program that is killed";
    let embedded = "a real nsqd does not fail on demand";
    scenarios![
        the_web_server_tells_each_failure_by_its_status.only(Kind::Embedded, embedded),
        the_web_server_keeps_every_2xx_while_nsqd_is_killed
            .only(Kind::Real, real)
            .within(LONGEST),
        the_web_server_with_a_producer_per_worker_keeps_every_2xx_while_nsqd_is_killed
            .only(Kind::Real, real)
            .within(LONGEST),
        the_web_server_ends_while_nsqd_is_away.only(Kind::Real, real),
    ]
}

async fn the_web_server_tells_each_failure_by_its_status(broker: Broker) {
    let address = broker.address().await;
    let nsqd = broker.embedded();
    let server = WebServer::start(&address, &[]).unwrap();
    nsqd.wait_for_command("IDENTIFY", 1).await;
    let mut client = HttpClient::connect(server.address()).unwrap();
    let mut tell = |path: &str, body: &[u8]| {
        let Answer {
            status,
            headers,
            body,
        } = client.post(path, body).unwrap();
        let again = headers.contains(&"retry-after: 1".to_owned());
        (status, body["stored"].as_str().unwrap().to_owned(), again)
    };
    let told = |status: u16, stored: &str, again: bool| (status, stored.to_owned(), again);

    assert_eq!(tell(PATH, b"fine"), told(200, "yes", false));
    assert_eq!(tell("/publish/not+a+name", b"x"), told(400, "no", false));
    assert_eq!(tell(PATH, b""), told(400, "no", false));
    nsqd.faults().fail_next("PUB", "E_PUB_FAILED PUB failed");
    assert_eq!(tell(PATH, b"x"), told(503, "no", true));
    nsqd.faults().fail_next("PUB", "E_UNAUTHORIZED no");
    assert_eq!(tell("/publish/closed", b"x"), told(500, "no", false));
    nsqd.wait_for_command("IDENTIFY", 3).await;
    nsqd.faults().close_after_commands(1);
    assert_eq!(
        tell(PATH, b"stored, but who knows"),
        told(502, "maybe", false)
    );
    let largest = vec![b'x'; 1 << 20];
    assert_eq!(tell(PATH, &largest), told(200, "yes", false));
    assert_eq!(nsqd.message_count(TOPIC), 3);

    // actix-web refuses it by itself, and says so in its own words.
    let answer = client.post(PATH, &vec![b'x'; (1 << 20) + 1]).unwrap();
    assert_eq!(answer.status, 413, "{answer:?}");

    let mut client = HttpClient::connect(server.address()).unwrap();
    assert_eq!(client.get("/ready").unwrap().status, 200);
    broker.kill().await;
    let answer = client.get("/ready").unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.body["state"], "BackingOff");
    assert!(!answer.has("retry-after: 1"));
}

/// fault: P21
async fn the_web_server_keeps_every_2xx_while_nsqd_is_killed(broker: Broker) {
    let tale = campaign(&broker, &[], Signal::TERM).await;
    // Its producer is drained when the handlers have finished, and nsqd is never away for as long as they wait.
    assert_eq!(tale.count("no"), 0, "{tale:?}");
    // The requests that a connection was closed on, when the server ended, were not begun.
    assert_eq!(tale.orphans.get(), 0, "{tale:?}");
}

async fn the_web_server_with_a_producer_per_worker_keeps_every_2xx_while_nsqd_is_killed(
    broker: Broker,
) {
    campaign(&broker, &["--per-worker"], Signal::INT).await;
}

async fn the_web_server_ends_while_nsqd_is_away(broker: Broker) {
    let nsqd = broker.real();
    let tale = nsqd
        .with_nsqd(|nsqd| {
            let mut server = WebServer::start(&nsqd.address(), &[]).unwrap();
            let load = Load::start(server.address(), 8);
            load.until_more_ok(50);
            nsqd.kill9().unwrap();
            // All of them wait for nsqd now.
            thread::sleep(Duration::from_millis(200));
            let tale = end(&mut server, load, Signal::TERM);
            nsqd.restart().unwrap();
            tale
        })
        .await;
    tale.check(&broker).await;
    assert!(tale.count("no") >= 1, "{tale:?}");
}

/// Kills nsqd again and again under load, and in the middle of it asks the server to end.
async fn campaign(broker: &Broker, flags: &'static [&str], signal: Signal) -> Tale {
    let given = |name: &str, or: usize| {
        std::env::var(name).map_or(or, |number| number.parse().expect(name))
    };
    let connections = given("WEB_CONNECTIONS", 16);
    let (kills, ok) = (given("WEB_KILLS", 3), given("WEB_OK", 500));
    let nsqd = broker.real();
    let strike = move |nsqd: &mut RealNsqd| {
        let mut server = WebServer::start(&nsqd.address(), flags).unwrap();
        let load = Load::start(server.address(), connections);
        for _ in 0..kills {
            load.until_more_ok(1);
            thread::sleep(LIFE);
            load.until_more_ok(ok);
            nsqd.kill9().unwrap();
            nsqd.restart().unwrap();
        }
        load.until_more_ok(ok);
        end(&mut server, load, signal)
    };
    let tale = nsqd.with_nsqd(strike).await;
    tale.check(broker).await;
    if std::env::var_os("WEB_KILLS").is_some() {
        eprintln!("{flags:?}, {kills} kills, {connections} connections: {tale:?}");
    }
    tale
}

/// Asks the server to end under load, and hears what everybody has to say.
fn end(server: &mut WebServer, load: Load, signal: Signal) -> Tale {
    let took = load.started.elapsed();
    load.shared.ending.store(true, Ordering::SeqCst);
    let signalled = Instant::now();
    server.signal(signal).unwrap();
    let status = server.wait(LONGEST_STOP).unwrap();
    let stopped = signalled.elapsed();
    assert_eq!(status.code(), Some(0), "{}", server.stdout());
    Tale {
        took,
        stopped,
        exchanges: load.join(),
        said: server.stdout(),
        orphans: Cell::new(0),
    }
}

/// Connections that each post one numbered message after the other, until the server takes no more.
struct Load {
    started: Instant,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Exchange>>>,
}

#[derive(Default)]
struct Shared {
    next: AtomicUsize,
    ok: AtomicUsize,
    /// The server has been, or is about to be, asked to end.
    ending: AtomicBool,
}

struct Exchange {
    number: usize,
    took: Duration,
    /// What was said: `yes`, `no`, `maybe`, or nothing at all.
    stored: Option<String>,
    status: u16,
}

impl Load {
    fn start(address: SocketAddr, connections: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let threads = (0..connections)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.post(address))
            })
            .collect();
        Self {
            started: Instant::now(),
            shared,
            threads,
        }
    }

    fn until_more_ok(&self, more: usize) {
        let goal = self.shared.ok.load(Ordering::SeqCst) + more;
        let reached = wait::poll(Duration::from_secs(60), || {
            (self.shared.ok.load(Ordering::SeqCst) >= goal).then_some(())
        });
        assert!(reached.is_some(), "nothing is published any more");
    }

    fn join(self) -> Vec<Exchange> {
        let posted = self.threads.into_iter().map(|it| it.join().unwrap());
        posted.flatten().collect()
    }
}

impl Shared {
    fn post(&self, address: SocketAddr) -> Vec<Exchange> {
        let mut exchanges = Vec::new();
        while let Ok(mut client) = HttpClient::connect(address) {
            // It is closed when an answer says so, or when there is none.
            while let Some(closed) = self.exchange(&mut client, &mut exchanges) {
                if closed {
                    break;
                }
            }
        }
        exchanges
    }

    /// One request; whether the server closes the connection then, `None` where it has done so without an answer.
    fn exchange(&self, client: &mut HttpClient, exchanges: &mut Vec<Exchange>) -> Option<bool> {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let began = Instant::now();
        let answer = client.post(PATH, &numbered(number));
        let took = began.elapsed();
        if let Err(error) = &answer {
            assert!(!is_time_out(error), "no answer to {number} within {took:?}");
            assert!(
                self.ending.load(Ordering::SeqCst),
                "no answer to {number}: {error}"
            );
        }
        let answer = answer.ok();
        let stored = answer.as_ref().map(|it| it.body["stored"].as_str());
        exchanges.push(Exchange {
            number,
            took,
            stored: stored.map(|it| it.expect("the answer says what is stored").to_owned()),
            status: answer.as_ref().map_or(0, |it| it.status),
        });
        let answer = answer?;
        if answer.status == 200 {
            self.ok.fetch_add(1, Ordering::SeqCst);
        } else {
            thread::sleep(Duration::from_millis(5));
        }
        Some(answer.has("connection: close"))
    }
}

fn is_time_out(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    )
}

/// What was answered, and how the server ended.
struct Tale {
    took: Duration,
    stopped: Duration,
    exchanges: Vec<Exchange>,
    said: String,
    /// How many messages are in nsqd whose requests came to no answer; known after the check.
    orphans: Cell<usize>,
}

impl Tale {
    /// Every message answered 2xx is in nsqd once, none that was answered as not stored is, and no answer took too long.
    async fn check(&self, broker: &Broker) {
        assert!(self.said.contains("drained: "), "{self:?}");
        let ok = self.count("yes");
        let mut copies: HashMap<usize, usize> = HashMap::new();
        for body in broker.bodies(TOPIC, ok).await {
            *copies.entry(number_of(&body)).or_default() += 1;
        }
        for exchange in &self.exchanges {
            let Exchange {
                number,
                took,
                stored,
                status,
            } = exchange;
            let copies = copies.remove(number).unwrap_or(0);
            let allowed = match stored.as_deref() {
                Some("yes") => 1..=1,
                Some("no") => 0..=0,
                _ => 0..=1,
            };
            assert_eq!(*status == 200, stored.as_deref() == Some("yes"));
            assert!(
                allowed.contains(&copies),
                "{number} was answered {status}, {stored:?}, and is there {copies} times; {self:?}"
            );
            assert!(*took < LONGEST_ANSWER, "{number} took {took:?}");
            if stored.is_none() {
                self.orphans.set(self.orphans.get() + copies);
            }
        }
        assert!(copies.is_empty(), "nobody posted {copies:?}");
    }

    fn count(&self, stored: &str) -> usize {
        let said = self.exchanges.iter().filter_map(|it| it.stored.as_deref());
        said.filter(|it| *it == stored).count()
    }
}

impl std::fmt::Debug for Tale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
        for exchange in &self.exchanges {
            *statuses.entry(exchange.status).or_default() += 1;
        }
        let mut times: Vec<_> = self.exchanges.iter().map(|it| it.took).collect();
        times.sort_unstable();
        let at = |part: f64| times.get((times.len() as f64 * part) as usize);
        let per_second = self.count("yes") as f64 / self.took.as_secs_f64();
        writeln!(
            f,
            "{} requests in {:.2?}, {per_second:.0} ok/s; by status (0: no answer): {statuses:?}; stored without an answer: {}",
            self.exchanges.len(),
            self.took,
            self.orphans.get(),
        )?;
        writeln!(
            f,
            "p50 {:.2?} p99 {:.2?} max {:.2?}",
            at(0.5),
            at(0.99),
            times.last()
        )?;
        write!(
            f,
            "ended {:.2?} after the signal\n{}",
            self.stopped, self.said
        )
    }
}
