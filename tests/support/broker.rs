//! One broker, of either kind, with the operations that a scenario needs of both.

use std::cell::{RefCell, RefMut};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_nsq::embedded::{ConnectionInfo, EmbeddedNsqd};
use serde_json::Value;

use super::auth_server::{self, AuthServer};
use super::certificates::{Certificates, Identity};
use super::raw_client::{self, Access};
use super::real_nsqd::{DURABLE, RealNsqd};
pub use super::settings::Settings;
use super::{our_process, wait};

/// Which nsqd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The one inside the process.
    Embedded,
    /// The program, as a child process.
    Real,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::Real => "real",
        })
    }
}

/// A running nsqd. Its methods are asynchronous because a real one is slow to start and to empty, and the test's own actors
/// must live on meanwhile; a failure of the broker itself panics.
#[derive(Debug)]
pub struct Broker {
    nsqd: Nsqd,
    access: Access,
    /// Its own, and where they come from.
    certificates: Option<(Identity, Certificates)>,
    auth: Option<RefCell<AuthServer>>,
}

#[derive(Debug)]
enum Nsqd {
    Embedded(EmbeddedNsqd),
    Real(DrainedNsqd),
}

/// What a broker has agreed on with a client that has published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    pub tls: bool,
    pub snappy: bool,
    pub deflate: bool,
    /// Whom the auth server took it for, if it was asked.
    pub identity: Option<String>,
}

/// A real nsqd, and what has been received from it: a message leaves nsqd when it is looked at.
#[derive(Clone, Debug)]
pub struct DrainedNsqd(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    nsqd: RealNsqd,
    access: Access,
    drained: HashMap<String, Vec<Vec<u8>>>,
}

impl Broker {
    /// Starts one on free ports. A real one writes each message to its disk before it says OK (see [`DURABLE`]).
    pub async fn start(kind: Kind, settings: Settings) -> Self {
        let certificates = settings.tls.map(|tls| {
            let certificates = Certificates::new();
            (certificates.server(tls.flaw), certificates)
        });
        let auth = settings.auth.then(AuthServer::start);
        let auth = auth.map(|auth| auth.expect("an auth server starts"));
        let access = Access {
            tls: certificates
                .as_ref()
                .map(|(_, certificates)| certificates.tls()),
            secret: auth.as_ref().map(|_| auth_server::LOOKER),
        };
        let server = certificates.as_ref();
        let server = server.map(|(identity, certificates)| (identity, certificates));
        let nsqd = match kind {
            Kind::Embedded => {
                let authority = auth.as_ref().map(|auth| auth.authority().clone());
                let nsqd = settings.builder(server, authority).start();
                Nsqd::Embedded(nsqd.expect("an embedded nsqd starts"))
            }
            Kind::Real => {
                let access = access.clone();
                let durable = if settings.in_memory { &[] } else { DURABLE };
                let mut flags: Vec<String> =
                    durable.iter().map(|flag| (*flag).to_owned()).collect();
                let authd = auth.as_ref().map(AuthServer::address);
                flags.extend(settings.flags(server, authd));
                let disk = settings.disk;
                let nsqd = tokio::task::spawn_blocking(move || RealNsqd::start_on(disk, &flags));
                let nsqd = nsqd
                    .await
                    .expect("starting does not panic")
                    .expect("a real nsqd starts");
                Nsqd::Real(DrainedNsqd(Arc::new(Mutex::new(Inner {
                    nsqd,
                    access,
                    drained: HashMap::new(),
                }))))
            }
        };
        Self {
            nsqd,
            access,
            certificates,
            auth: auth.map(RefCell::new),
        }
    }

    /// What lets a client typed by hand in.
    pub fn access(&self) -> Access {
        self.access.clone()
    }

    /// Those of a broker that speaks TLS, and of its clients.
    pub fn certificates(&self) -> &Certificates {
        &self.tls().1
    }

    /// What it shows to its clients.
    pub fn server_identity(&self) -> &Identity {
        &self.tls().0
    }

    fn tls(&self) -> &(Identity, Certificates) {
        let tls = self.certificates.as_ref();
        tls.expect("this broker speaks no TLS")
    }

    /// Who knows the secrets, of a broker that wants some.
    pub fn auth(&self) -> RefMut<'_, AuthServer> {
        let auth = self.auth.as_ref().expect("this broker wants no secret");
        auth.borrow_mut()
    }

    pub fn kind(&self) -> Kind {
        match &self.nsqd {
            Nsqd::Embedded(_) => Kind::Embedded,
            Nsqd::Real(_) => Kind::Real,
        }
    }

    /// `host:port` for a producer; the same after a restart.
    pub async fn address(&self) -> String {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => nsqd.address().to_string(),
            Nsqd::Real(nsqd) => nsqd.with(|inner| inner.nsqd.address()).await,
        }
    }

    /// The bodies of all messages of a topic stored so far, in the order the broker gives them out.
    ///
    /// A real nsqd is emptied by a consumer, whose channel is created by the first call: call it when the faults are over,
    /// because nsqd loses what is on its way to a channel when it is killed. `expected` says when to stop waiting for more.
    pub async fn bodies(&self, topic: &str, expected: usize) -> Vec<Vec<u8>> {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => nsqd
                .messages(topic)
                .into_iter()
                .map(|message| message.body.to_vec())
                .collect(),
            Nsqd::Real(nsqd) => {
                let topic = topic.to_owned();
                nsqd.with(move |inner| inner.bodies(topic, expected)).await
            }
        }
    }

    /// How many messages of a topic are stored so far. After a kill -9, a real nsqd's count is only near the truth; its
    /// [`bodies`](Self::bodies) are the truth.
    pub async fn message_count(&self, topic: &str) -> usize {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => nsqd.message_count(topic),
            Nsqd::Real(nsqd) => {
                let topic = topic.to_owned();
                nsqd.with(move |inner| inner.message_count(&topic)).await
            }
        }
    }

    /// Ends it without a goodbye: kill -9, or reset connections and a closed port. What it stored is kept.
    pub async fn kill(&self) {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => {
                nsqd.faults().reset_connections();
                nsqd.stop();
                // Frozen or not, a process that is killed is gone.
                nsqd.faults().freeze(false);
            }
            Nsqd::Real(nsqd) => {
                nsqd.with(|inner| inner.nsqd.kill9().expect("nsqd can be killed"))
                    .await
            }
        }
    }

    /// Ends it as its supervisor would, and waits for its end: SIGTERM, or closed connections and a closed port.
    pub async fn terminate(&self) {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => nsqd.stop(),
            Nsqd::Real(nsqd) => {
                nsqd.with(|inner| {
                    inner.nsqd.sigterm().expect("a running nsqd takes signals");
                    inner
                        .nsqd
                        .wait_exited()
                        .expect("nsqd ends when it is asked to")
                })
                .await;
            }
        }
    }

    /// Starts it again after a [`kill`](Self::kill) or [`terminate`](Self::terminate), on the same address and with what it stored.
    pub async fn restart(&self) {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => nsqd.restart().expect("an embedded nsqd starts again"),
            Nsqd::Real(nsqd) => {
                nsqd.with(|inner| inner.nsqd.restart().expect("a real nsqd starts again"))
                    .await
            }
        }
    }

    /// Deletes a topic and its messages.
    pub async fn delete_topic(&self, topic: &str) {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => assert!(nsqd.delete_topic(topic), "there is no {topic}"),
            Nsqd::Real(nsqd) => {
                let topic = topic.to_owned();
                nsqd.with(move |inner| {
                    inner.drained.remove(&topic);
                    inner.nsqd.delete_topic(&topic)
                })
                .await
                .expect("there is such a topic");
            }
        }
    }

    /// Waits until what was answered OK so far would be found after a kill. [`kill`](Self::kill) does so by itself, but cannot
    /// when the broker is frozen already.
    pub async fn until_recoverable(&self) {
        if let Nsqd::Real(nsqd) = &self.nsqd {
            let recoverable = nsqd.with(|inner| inner.nsqd.becomes_recoverable()).await;
            assert!(recoverable, "nsqd does not write its metadata");
        }
    }

    /// Frozen, it keeps its connections and does nothing: SIGSTOP and SIGCONT.
    pub async fn freeze(&self, frozen: bool) {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => nsqd.faults().freeze(frozen),
            Nsqd::Real(nsqd) => {
                let signal = if frozen {
                    RealNsqd::sigstop
                } else {
                    RealNsqd::sigcont
                };
                nsqd.with(move |inner| signal(&inner.nsqd).expect("a running nsqd takes signals"))
                    .await;
            }
        }
    }
}

impl Agreed {
    fn seen(client: ConnectionInfo) -> Self {
        Self {
            tls: client.tls,
            snappy: client.snappy,
            deflate: client.deflate,
            identity: client.authed.then_some(client.auth_identity),
        }
    }

    fn told(client: &Value) -> Self {
        let is = |field: &str| client[field] == true;
        let identity = is("authed").then(|| client["auth_identity"].as_str().unwrap_or_default());
        Self {
            tls: is("tls"),
            snappy: is("snappy"),
            deflate: is("deflate"),
            identity: identity.map(str::to_owned),
        }
    }
}

/// What the broker knows of its clients.
impl Broker {
    /// How many connections have introduced themselves (IDENTIFY) so far, over all restarts.
    pub async fn handshakes(&self) -> usize {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => {
                usize::try_from(nsqd.command_count("IDENTIFY")).expect("a count of a test")
            }
            Nsqd::Real(nsqd) => {
                let log = nsqd.with(|inner| inner.nsqd.log()).await;
                log.matches("] IDENTIFY: ").count()
            }
        }
    }

    /// The clients that are connected: what they said of themselves. A real nsqd tells only of those that have published.
    pub async fn clients(&self) -> Vec<Value> {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => {
                let open = nsqd.connections().into_iter().filter(|client| client.open);
                open.filter_map(|client| client.identify).collect()
            }
            Nsqd::Real(nsqd) => {
                let told = nsqd.with(|inner| inner.nsqd.producers()).await;
                told.expect("nsqd tells its statistics")
            }
        }
    }

    /// What was agreed on with each client that is connected. A real nsqd tells only of those that have published.
    pub async fn agreed(&self) -> Vec<Agreed> {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => {
                let open = nsqd.connections().into_iter().filter(|client| client.open);
                open.map(Agreed::seen).collect()
            }
            Nsqd::Real(_) => self.clients().await.iter().map(Agreed::told).collect(),
        }
    }

    /// Waits until none is connected any more.
    pub async fn until_no_client_is_left(&self) {
        let end = std::time::Instant::now() + wait::PATIENCE;
        while !self.clients().await.is_empty() {
            assert!(std::time::Instant::now() < end, "a client stays for ever");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How many connections to it this process holds.
    pub async fn sockets_of_ours(&self) -> usize {
        let address = self.address().await;
        our_process::sockets_to(address.parse().expect("an address of ours"))
    }

    /// The embedded one, for its faults.
    pub fn embedded(&self) -> &EmbeddedNsqd {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => nsqd,
            Nsqd::Real(_) => panic!("this scenario is for the embedded nsqd only"),
        }
    }

    /// The real one, for what only a process can do.
    pub fn real(&self) -> &DrainedNsqd {
        match &self.nsqd {
            Nsqd::Real(nsqd) => nsqd,
            Nsqd::Embedded(_) => panic!("this scenario is for a real nsqd only"),
        }
    }
}

impl DrainedNsqd {
    /// Does something with the nsqd away from the runtime's thread.
    pub async fn with_nsqd<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut RealNsqd) -> T + Send + 'static,
    ) -> T {
        self.with(|inner| act(&mut inner.nsqd)).await
    }

    async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Inner) -> T + Send + 'static,
    ) -> T {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || {
            act(&mut inner.lock().unwrap_or_else(PoisonError::into_inner))
        });
        match done.await {
            Ok(value) => value,
            Err(failure) => std::panic::resume_unwind(failure.into_panic()),
        }
    }
}

impl Inner {
    fn bodies(&mut self, topic: String, expected: usize) -> Vec<Vec<u8>> {
        let nsqd = &self.nsqd;
        let drained = self.drained.entry(topic.clone()).or_default();
        let missing = expected.saturating_sub(drained.len());
        let left = || nsqd.unfinished(&topic).ok();
        let more = raw_client::drain_with(&self.access, &nsqd.address(), &topic, missing, left);
        drained.extend(more.expect("a topic can be emptied"));
        drained.clone()
    }

    fn message_count(&self, topic: &str) -> usize {
        let unfinished = self
            .nsqd
            .unfinished(topic)
            .expect("nsqd tells its statistics");
        let unfinished = usize::try_from(unfinished).expect("a test's messages can be counted");
        unfinished + self.drained.get(topic).map_or(0, Vec::len)
    }
}
