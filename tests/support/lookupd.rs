//! An nsqlookupd of either kind, with the operations that scenarios need of both.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_nsq::embedded::EmbeddedLookupd;
use serde_json::Value;

use super::broker::Kind;
use super::real_lookupd::{self, RealLookupd};

/// A running nsqlookupd. Failures of it panic. The methods are asynchronous because a real
/// nsqlookupd takes time, while the actors of the test must run.
#[derive(Clone, Debug)]
pub struct Lookupd {
    kind: Kind,
    server: Arc<Server>,
    http_address: String,
    tcp_address: String,
}

#[derive(Debug)]
enum Server {
    Embedded(EmbeddedLookupd),
    Real(Mutex<RealLookupd>),
}

/// How long nsqds and tombstones are remembered.
#[derive(Clone, Copy, Debug)]
pub struct LookupdSettings {
    pub inactive_producer_timeout: Duration,
    pub tombstone_lifetime: Duration,
}

impl Default for LookupdSettings {
    fn default() -> Self {
        Self {
            inactive_producer_timeout: Duration::from_secs(300),
            tombstone_lifetime: Duration::from_secs(45),
        }
    }
}

impl Lookupd {
    /// Starts an nsqlookupd on free ports. Blocks the thread.
    pub fn start_blocking(kind: Kind, settings: LookupdSettings) -> Self {
        let LookupdSettings {
            inactive_producer_timeout,
            tombstone_lifetime,
        } = settings;
        let (server, http_address, tcp_address) = match kind {
            Kind::Embedded => {
                let builder = EmbeddedLookupd::builder()
                    .inactive_producer_timeout(inactive_producer_timeout)
                    .tombstone_lifetime(tombstone_lifetime);
                let lookupd = builder.start().expect("an embedded nsqlookupd starts");
                let [http, tcp] = [lookupd.http_address(), lookupd.tcp_address()];
                (Server::Embedded(lookupd), http.to_string(), tcp.to_string())
            }
            Kind::Real => {
                let milliseconds =
                    |flag: &str, duration: Duration| format!("--{flag}={}ms", duration.as_millis());
                let lookupd = RealLookupd::start(&[
                    milliseconds("inactive-producer-timeout", inactive_producer_timeout),
                    milliseconds("tombstone-lifetime", tombstone_lifetime),
                ]);
                let lookupd = lookupd.expect("a real nsqlookupd starts");
                let addresses = (lookupd.http_address(), lookupd.tcp_address());
                (Server::Real(Mutex::new(lookupd)), addresses.0, addresses.1)
            }
        };
        Self {
            kind,
            server: Arc::new(server),
            http_address,
            tcp_address,
        }
    }

    /// Starts an nsqlookupd on free ports.
    pub async fn start(kind: Kind, settings: LookupdSettings) -> Self {
        blocking(move || Self::start_blocking(kind, settings)).await
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// `host:port` for clients, which stays the same after a restart.
    pub fn http_address(&self) -> &str {
        &self.http_address
    }

    /// `host:port` for nsqds, which stays the same after a restart.
    pub fn tcp_address(&self) -> &str {
        &self.tcp_address
    }

    /// For its faults and queries.
    pub fn embedded(&self) -> &EmbeddedLookupd {
        match &*self.server {
            Server::Embedded(lookupd) => lookupd,
            Server::Real(_) => panic!("this is a real nsqlookupd"),
        }
    }

    /// Kills it, or closes its ports and connections.
    pub async fn kill(&self) {
        self.change(EmbeddedLookupd::stop, |lookupd| {
            lookupd.kill9().expect("it can be killed");
        })
        .await;
    }

    /// Starts it again, after killing it if it is running. It has forgotten everything.
    pub async fn restart(&self) {
        self.change(
            |lookupd| lookupd.restart().expect("it starts again"),
            |lookupd| lookupd.restart().expect("it starts again"),
        )
        .await;
    }

    /// Stops or continues it (SIGSTOP, SIGCONT): it accepts connections and does not answer.
    pub async fn freeze(&self, frozen: bool) {
        self.change(
            move |lookupd| lookupd.faults().freeze(frozen),
            move |lookupd| lookupd.freeze(frozen).expect("it is running"),
        )
        .await;
    }

    /// Sends a POST request, such as `/topic/create?topic=t`.
    pub async fn post(&self, target: &str) {
        let (address, target) = (self.http_address.clone(), target.to_owned());
        let request = move || {
            let address = address.parse().expect("an address");
            super::real_nsqd::http_request(address, "POST", &target)
        };
        blocking(request).await.expect("it answers 200");
    }

    /// Sends GET, and returns the status and the body.
    pub async fn get(&self, target: &str) -> (u16, Value) {
        let (address, target) = (self.http_address.clone(), target.to_owned());
        let answer = blocking(move || real_lookupd::get(&address, &target)).await;
        let (status, body) = answer.expect("it answers");
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// The TCP ports that `/lookup` lists for a topic, sorted; `None` for 404.
    pub async fn producers(&self, topic: &str) -> Option<Vec<u16>> {
        let topic = topic.replace('#', "%23");
        let (status, answer) = self.get(&format!("/lookup?topic={topic}")).await;
        (status == 200).then(|| ports(&answer))
    }

    /// The TCP ports that `/nodes` lists, sorted.
    pub async fn nodes(&self) -> Vec<u16> {
        ports(&self.get("/nodes").await.1)
    }

    /// Polls until `/lookup` lists exactly these TCP ports for a topic.
    pub async fn until_producers(&self, topic: &str, expected: Option<&[u16]>, limit: Duration) {
        let end = Instant::now() + limit;
        loop {
            let listed = self.producers(topic).await;
            if listed.as_deref() == expected {
                return;
            }
            let what = format!("/lookup?topic={topic} is {listed:?}, not {expected:?}");
            assert!(Instant::now() < end, "{what} within {limit:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn change(
        &self,
        embedded: impl FnOnce(&EmbeddedLookupd),
        real: impl FnOnce(&mut RealLookupd) + Send + 'static,
    ) {
        match &*self.server {
            Server::Embedded(lookupd) => embedded(lookupd),
            Server::Real(_) => {
                let server = Arc::clone(&self.server);
                blocking(move || {
                    if let Server::Real(lookupd) = &*server {
                        real(&mut lookupd.lock().unwrap_or_else(PoisonError::into_inner));
                    }
                })
                .await;
            }
        }
    }
}

fn ports(answer: &Value) -> Vec<u16> {
    let nodes = answer["producers"].as_array().into_iter().flatten();
    let ports = nodes.filter_map(|node| u16::try_from(node["tcp_port"].as_u64()?).ok());
    let mut ports: Vec<_> = ports.collect();
    ports.sort_unstable();
    ports
}

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(run).await {
        Ok(value) => value,
        Err(failure) => std::panic::resume_unwind(failure.into_panic()),
    }
}
