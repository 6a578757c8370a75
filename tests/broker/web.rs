//! The example `actix_web` stores every message that it answered with 2xx, while nsqd is
//! killed under load and when the server itself is terminated.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::load::audit;
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind};
use crate::support::real_nsqd::RealNsqd;
use crate::support::record::{Audit, Outcome, Record};
use crate::support::wait::PATIENCE;
use crate::support::web_server::{HttpClient, Response, WebServer};
use crate::support::{scaled, wait};

const TOPIC: &str = "web";
const PATH: &str = "/publish/web";

/// The handler's timeout is 5 s.
const LONGEST_RESPONSE: Duration = Duration::from_secs(8);

/// After a connection that lasted a second, the producer reconnects without a growing delay.
const GOOD_CONNECTION: Duration = Duration::from_millis(1_200);

/// 10 s for running handlers, and 5 s for the drain.
const LONGEST_EXIT: Duration = Duration::from_secs(18);

pub fn scenarios() -> Vec<Scenario> {
    let real_only = "it concerns a killed process";
    scenarios![
        web_server_reports_each_failure_by_its_status
            .only(Kind::Embedded, "nsqd does not fail on demand"),
        web_server_keeps_every_2xx_while_nsqd_is_killed.only(Kind::Real, real_only),
        web_server_exits_while_nsqd_is_down.only(Kind::Real, real_only),
    ]
}

async fn web_server_reports_each_failure_by_its_status(broker: Broker) {
    let address = broker.address().await;
    let nsqd = broker.embedded();
    let server = WebServer::start("actix_web", &address).unwrap();
    let connected = nsqd.wait_for_command("IDENTIFY", 1, PATIENCE).await;
    connected.unwrap();
    let mut client = HttpClient::connect(server.address()).unwrap();
    let mut post = |path: &str, body: &[u8]| {
        let response = client.post(path, body).unwrap();
        let stored = response.body["stored"].as_str().unwrap().to_owned();
        (response.status, stored, response.has("retry-after: 1"))
    };
    let expected = |status, stored: &str, retry: bool| (status, stored.to_owned(), retry);

    assert_eq!(post(PATH, b"fine"), expected(200, "yes", false));
    assert_eq!(
        post("/publish/not+a+name", b"x"),
        expected(400, "no", false)
    );
    assert_eq!(post(PATH, b""), expected(400, "no", false));
    nsqd.faults().fail_next("PUB", "E_PUB_FAILED PUB failed");
    assert_eq!(post(PATH, b"x"), expected(503, "no", true));
    nsqd.faults().fail_next("PUB", "E_UNAUTHORIZED no");
    assert_eq!(post("/publish/denied", b"x"), expected(500, "no", false));
    let connected = nsqd.wait_for_command("IDENTIFY", 3, PATIENCE).await;
    connected.unwrap();
    nsqd.faults().close_after_commands(1);
    assert_eq!(post(PATH, b"stored"), expected(502, "maybe", false));
    assert_eq!(
        post(PATH, &vec![b'x'; 1 << 20]),
        expected(200, "yes", false)
    );
    assert_eq!(nsqd.message_count(TOPIC), 3);
    // Rejected by actix-web.
    let response = client.post(PATH, &vec![b'x'; (1 << 20) + 1]).unwrap();
    assert_eq!(response.status, 413, "{response:?}");

    let mut client = HttpClient::connect(server.address()).unwrap();
    assert_eq!(client.get("/ready").unwrap().status, 200);
    broker.kill().await;
    let response = client.get("/ready").unwrap();
    assert_eq!(response.status, 503, "{response:?}");
    assert_eq!(response.body["ready"], false);
    assert!(!response.has("retry-after: 1"));
}

/// fault: P21
async fn web_server_keeps_every_2xx_while_nsqd_is_killed(broker: Broker) {
    let (kills, ok) = (scaled(2, 20), scaled(500, 5_000));
    let run = move |nsqd: &mut RealNsqd| {
        let mut server = WebServer::start("actix_web", &nsqd.address()).unwrap();
        let load = Load::start(server.address(), scaled(16, 64));
        for _ in 0..kills {
            load.until_more_ok(1);
            thread::sleep(GOOD_CONNECTION);
            load.until_more_ok(ok);
            nsqd.kill9().unwrap();
            nsqd.restart().unwrap();
        }
        load.until_more_ok(ok);
        load.stop(&mut server, Signal::TERM)
    };
    let record = broker.real().with_nsqd(run).await;
    let audit = audit_responses(record, &broker).await;
    // The producer is drained after the handlers have finished, and the outages are short.
    assert_eq!(audit.not_written, 0, "{audit}");
    // Requests without a response were not handled.
    assert_eq!(audit.stored, audit.ok + audit.maybe_stored, "{audit}");
}

async fn web_server_exits_while_nsqd_is_down(broker: Broker) {
    let run = |nsqd: &mut RealNsqd| {
        let mut server = WebServer::start("actix_web", &nsqd.address()).unwrap();
        let load = Load::start(server.address(), 8);
        load.until_more_ok(50);
        nsqd.kill9().unwrap();
        // Now all requests wait for nsqd.
        thread::sleep(Duration::from_millis(200));
        let record = load.stop(&mut server, Signal::INT);
        nsqd.restart().unwrap();
        record
    };
    let record = broker.real().with_nsqd(run).await;
    let audit = audit_responses(record, &broker).await;
    assert!(audit.not_written >= 1, "{audit}");
}

/// Connections that each post one message after the other, until the server accepts no more.
struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    record: Mutex<Record>,
    ok: AtomicUsize,
    /// The server was, or is about to be, terminated.
    ending: AtomicBool,
}

impl Load {
    fn start(address: SocketAddr, connections: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let start = |_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.post_all(address))
        };
        let threads = (0..connections).map(start).collect();
        Self { shared, threads }
    }

    fn until_more_ok(&self, more: usize) {
        let ok = || self.shared.ok.load(Ordering::SeqCst);
        let goal = ok() + more;
        let reached = wait::poll(Duration::from_secs(60), || (ok() >= goal).then_some(()));
        assert!(reached.is_some(), "{more} more publishes are not answered");
    }

    /// Terminates the server under load, and returns the record of all responses.
    fn stop(self, server: &mut WebServer, signal: Signal) -> Record {
        self.shared.ending.store(true, Ordering::SeqCst);
        server.signal(signal).unwrap();
        let status = server.wait(LONGEST_EXIT).unwrap();
        assert_eq!(status.code(), Some(0), "{}", server.stdout());
        assert!(server.stdout().contains("drained: "), "{}", server.stdout());
        for thread in self.threads {
            thread.join().unwrap();
        }
        std::mem::take(&mut *self.shared.record())
    }
}

impl Shared {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }

    fn post_all(&self, address: SocketAddr) {
        let publisher = self.record().publisher(TOPIC);
        while let Ok(mut client) = HttpClient::connect(address) {
            while self.post(&mut client, publisher) {}
        }
    }

    /// One request. Returns whether the connection stays open.
    fn post(&self, client: &mut HttpClient, publisher: usize) -> bool {
        let (id, body) = self.record().offer(publisher, 40);
        let began = Instant::now();
        let response = match client.post(PATH, &body) {
            Ok(response) => response,
            Err(error) => {
                let timeouts = [io::ErrorKind::TimedOut, io::ErrorKind::WouldBlock];
                assert!(!timeouts.contains(&error.kind()), "no response to {id}");
                let ending = self.ending.load(Ordering::SeqCst);
                assert!(ending, "no response to {id}: {error}");
                return false;
            }
        };
        assert!(
            began.elapsed() < LONGEST_RESPONSE,
            "{id}: {:?}",
            began.elapsed()
        );
        let Response { status, body, .. } = &response;
        let outcome = match body["stored"].as_str().expect("whether it is stored") {
            "yes" => Outcome::Ok,
            "no" => Outcome::NotWritten,
            _ => Outcome::Maybe,
        };
        assert_eq!(*status == 200, outcome == Outcome::Ok, "{response:?}");
        self.record().answer(id, outcome);
        match outcome {
            Outcome::Ok => drop(self.ok.fetch_add(1, Ordering::SeqCst)),
            _ => thread::sleep(Duration::from_millis(5)),
        }
        !response.has("connection: close")
    }
}

/// Asserts that all responses agree with what nsqd stored.
async fn audit_responses(record: Record, broker: &Broker) -> Audit {
    let mut audit = audit(record, broker).await;
    eprintln!("{audit}");
    // Requests without a response: the server closed their connections.
    audit.unanswered.clear();
    audit.assert_clean();
    audit
}
