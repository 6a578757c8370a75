//! A broker of either kind, with the operations that scenarios need of both.

use std::cell::{RefCell, RefMut};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_nsq::embedded::{ConnectionInfo, EmbeddedNsqd};
use serde_json::Value;

use super::auth_server::{self, AuthServer};
use super::certificates::{Certificates, Identity};
use super::nsqd_program::{self, Found};
use super::nsqd_version::Version;
use super::raw_client::{self, Access};
use super::real_nsqd::{DURABLE, RealNsqd};
pub use super::settings::Settings;
use super::{our_process, wait};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The nsqd of this crate, in this process.
    Embedded,
    /// nsqd as a child process.
    Real,
}

impl Kind {
    /// The version whose behavior tests expect.
    pub fn version(self) -> Version {
        match (self, nsqd_program::find()) {
            (Self::Real, Found::At(nsqd)) => nsqd.version,
            (Self::Embedded, _) | (_, Found::Missing(_)) => Version::LATEST,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::Real => "real",
        })
    }
}

/// A running nsqd. Failures of the broker itself panic. The methods are asynchronous because a
/// real nsqd takes time, while the actors of the test must run.
#[derive(Debug)]
pub struct Broker {
    nsqd: Nsqd,
    /// The broker's own certificate, and the authority.
    certificates: Option<(Identity, Certificates)>,
    auth: Option<RefCell<AuthServer>>,
}

#[derive(Debug)]
enum Nsqd {
    Embedded(EmbeddedNsqd),
    Real(SharedNsqd),
}

/// A real nsqd, and the messages consumed from it so far: nsqd forgets consumed messages.
#[derive(Clone, Debug)]
pub struct SharedNsqd(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    nsqd: RealNsqd,
    access: Access,
    consumed: HashMap<String, Vec<(raw_client::Id, Vec<u8>)>>,
}

/// What a broker has negotiated with a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    pub tls: bool,
    pub snappy: bool,
    pub deflate: bool,
    /// From the auth server.
    pub identity: Option<String>,
}

/// Messages of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelState {
    pub depth: u64,
    pub in_flight: u64,
    pub deferred: u64,
}

impl Agreed {
    fn of_embedded(client: ConnectionInfo) -> Self {
        Self {
            tls: client.tls,
            snappy: client.snappy,
            deflate: client.deflate,
            identity: client.authed.then_some(client.auth_identity),
        }
    }

    fn of_real(client: &Value) -> Self {
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

impl Broker {
    /// Starts a broker on free ports. Unless it is in memory, a real one writes every message to
    /// disk before it answers `OK` (see [`DURABLE`]).
    pub async fn start(kind: Kind, settings: Settings) -> Self {
        let certificates = settings.tls.map(|tls| {
            let certificates = Certificates::new();
            (certificates.server(tls.flaw), certificates)
        });
        let auth = settings.auth.then(AuthServer::start);
        let auth = auth.map(|auth| auth.expect("an auth server starts"));
        let server = certificates.as_ref().map(|(identity, all)| (identity, all));
        let nsqd = match kind {
            Kind::Embedded => {
                let authority = auth.as_ref().map(|auth| auth.authority().clone());
                let nsqd = settings.builder(server, authority).start();
                Nsqd::Embedded(nsqd.expect("an embedded nsqd starts"))
            }
            Kind::Real => {
                let access = Access {
                    tls: server.map(|(_, certificates)| certificates.tls()),
                    secret: auth.as_ref().map(|_| auth_server::INSPECTOR),
                };
                let mut flags = settings.flags(server, auth.as_ref().map(AuthServer::address));
                if !settings.in_memory {
                    flags.extend(DURABLE.iter().map(|flag| (*flag).to_owned()));
                }
                let start = move || RealNsqd::start_on(settings.disk, &flags);
                let nsqd = tokio::task::spawn_blocking(start).await.expect("no panic");
                Nsqd::Real(SharedNsqd(Arc::new(Mutex::new(Inner {
                    nsqd: nsqd.expect("a real nsqd starts"),
                    access,
                    consumed: HashMap::new(),
                }))))
            }
        };
        Self {
            nsqd,
            certificates,
            auth: auth.map(RefCell::new),
        }
    }

    /// The authority of a broker with TLS.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates.as_ref().expect("a broker with TLS").1
    }

    /// The certificate of a broker with TLS.
    pub fn server_identity(&self) -> &Identity {
        &self.certificates.as_ref().expect("a broker with TLS").0
    }

    /// The auth server of a broker that requires AUTH.
    pub fn auth(&self) -> RefMut<'_, AuthServer> {
        self.auth.as_ref().expect("a broker with AUTH").borrow_mut()
    }

    pub fn kind(&self) -> Kind {
        match &self.nsqd {
            Nsqd::Embedded(_) => Kind::Embedded,
            Nsqd::Real(_) => Kind::Real,
        }
    }

    /// `host:port`, which stays the same after a restart.
    pub async fn address(&self) -> String {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => nsqd.address().to_string(),
            Nsqd::Real(nsqd) => nsqd.with_nsqd(|nsqd| nsqd.address()).await,
        }
    }

    /// The bodies of all messages stored in a topic, in order.
    ///
    /// A real nsqd is consumed, through a channel that the first call creates. Call it after the
    /// faults: a killed nsqd loses messages that are moving to a channel. `expected` ends the wait
    /// for further messages.
    pub async fn bodies(&self, topic: &str, expected: usize) -> Vec<Vec<u8>> {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => {
                let messages = nsqd.messages(topic).into_iter();
                messages.map(|message| message.body.to_vec()).collect()
            }
            Nsqd::Real(nsqd) => {
                let topic = topic.to_owned();
                nsqd.with(move |inner| inner.bodies(topic, expected)).await
            }
        }
    }

    /// Number of messages stored in a topic. Not exact after a real nsqd was killed; then
    /// [`bodies`](Self::bodies) are.
    pub async fn message_count(&self, topic: &str) -> usize {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => nsqd.message_count(topic),
            Nsqd::Real(nsqd) => {
                let topic = topic.to_owned();
                nsqd.with(move |inner| inner.message_count(&topic)).await
            }
        }
    }

    /// Kills it (SIGKILL), or resets all connections and closes the port. Stored messages are
    /// kept.
    pub async fn kill(&self) {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => {
                nsqd.faults().reset_connections();
                nsqd.stop();
                nsqd.faults().freeze(false);
            }
            Nsqd::Real(nsqd) => {
                let killed = nsqd.with_nsqd(RealNsqd::kill9).await;
                killed.expect("nsqd can be killed");
            }
        }
    }

    /// Terminates it (SIGTERM) and waits for its exit, or closes all connections and the port.
    pub async fn terminate(&self) {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => nsqd.stop(),
            Nsqd::Real(nsqd) => {
                let terminate = |nsqd: &mut RealNsqd| {
                    nsqd.sigterm()?;
                    nsqd.wait_exited()
                };
                let exited = nsqd.with_nsqd(terminate).await;
                exited.expect("nsqd exits");
            }
        }
    }

    /// Starts it again after [`kill`](Self::kill) or [`terminate`](Self::terminate).
    pub async fn restart(&self) {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => nsqd.restart().expect("an embedded nsqd starts again"),
            Nsqd::Real(nsqd) => {
                let started = nsqd.with_nsqd(RealNsqd::restart).await;
                started.expect("a real nsqd starts again");
            }
        }
    }

    /// Deletes a topic and its messages.
    pub async fn delete_topic(&self, topic: &str) {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => assert!(nsqd.delete_topic(topic), "no topic {topic}"),
            Nsqd::Real(nsqd) => {
                let topic = topic.to_owned();
                let delete = move |inner: &mut Inner| {
                    inner.consumed.remove(&topic);
                    inner.nsqd.delete_topic(&topic)
                };
                nsqd.with(delete).await.expect("the topic exists");
            }
        }
    }

    /// Creates a channel and its topic.
    pub async fn create_channel(&self, topic: &str, channel: &str) {
        if let Nsqd::Real(nsqd) = &self.nsqd {
            let topic = topic.to_owned();
            let created = nsqd.with_nsqd(move |nsqd| nsqd.create_topic(&topic)).await;
            created.expect("nsqd creates a topic");
        }
        let change = EmbeddedNsqd::create_channel;
        self.change_channel(change, "create", topic, channel).await;
    }

    /// Pauses a channel: it delivers nothing.
    pub async fn pause_channel(&self, topic: &str, channel: &str) {
        let change = EmbeddedNsqd::pause_channel;
        self.change_channel(change, "pause", topic, channel).await;
    }

    pub async fn unpause_channel(&self, topic: &str, channel: &str) {
        let change = EmbeddedNsqd::unpause_channel;
        self.change_channel(change, "unpause", topic, channel).await;
    }

    /// Drops the messages of a channel, those in flight included.
    pub async fn empty_channel(&self, topic: &str, channel: &str) {
        let change = EmbeddedNsqd::empty_channel;
        self.change_channel(change, "empty", topic, channel).await;
    }

    /// Deletes a channel and its messages, and closes the connections of its consumers.
    pub async fn delete_channel(&self, topic: &str, channel: &str) {
        let change = EmbeddedNsqd::delete_channel;
        self.change_channel(change, "delete", topic, channel).await;
    }

    async fn change_channel(
        &self,
        embedded: fn(&EmbeddedNsqd, &str, &str) -> bool,
        real: &'static str,
        topic: &str,
        channel: &str,
    ) {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => assert!(embedded(nsqd, topic, channel), "no {channel}"),
            Nsqd::Real(nsqd) => {
                let (topic, channel) = (topic.to_owned(), channel.to_owned());
                let change = move |nsqd: &mut RealNsqd| nsqd.change_channel(real, &topic, &channel);
                nsqd.with_nsqd(change).await.expect("the channel exists");
            }
        }
    }

    /// The messages of a channel. All are 0 if it does not exist.
    pub async fn channel(&self, topic: &str, channel: &str) -> ChannelState {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => {
                nsqd.channel(topic, channel)
                    .map_or_else(ChannelState::default, |channel| ChannelState {
                        depth: channel.depth as u64,
                        in_flight: channel.in_flight_count as u64,
                        deferred: channel.deferred_count as u64,
                    })
            }
            Nsqd::Real(nsqd) => {
                let (topic, channel) = (topic.to_owned(), channel.to_owned());
                let stats = nsqd.with_nsqd(move |nsqd| nsqd.stats(&topic)).await;
                let stats = stats.expect("nsqd returns its statistics");
                let channels = stats
                    .as_ref()
                    .and_then(|stats| stats["channels"].as_array());
                let mut channels = channels.into_iter().flatten();
                let state = channels.find(|it| it["channel_name"] == *channel);
                let number = |key| state.and_then(|it| it[key].as_u64()).unwrap_or(0);
                ChannelState {
                    depth: number("depth"),
                    in_flight: number("in_flight_count"),
                    deferred: number("deferred_count"),
                }
            }
        }
    }

    /// Waits until a killed nsqd would recover everything that it answered `OK`.
    /// [`kill`](Self::kill) does this too, but cannot if nsqd is frozen.
    pub async fn until_recoverable(&self) {
        if let Nsqd::Real(nsqd) = &self.nsqd {
            let recoverable = nsqd.with_nsqd(|nsqd| nsqd.becomes_recoverable()).await;
            assert!(recoverable, "nsqd does not write its metadata");
        }
    }

    /// Stops or continues it (SIGSTOP, SIGCONT). Connections stay open.
    pub async fn freeze(&self, frozen: bool) {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => nsqd.faults().freeze(frozen),
            Nsqd::Real(nsqd) => {
                let freeze = move |nsqd: &mut RealNsqd| {
                    if frozen {
                        nsqd.sigstop()
                    } else {
                        nsqd.sigcont()
                    }
                };
                nsqd.with_nsqd(freeze).await.expect("nsqd is running");
            }
        }
    }

    /// Number of IDENTIFY commands so far, over all restarts.
    pub async fn handshakes(&self) -> usize {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => nsqd.command_count("IDENTIFY") as usize,
            Nsqd::Real(nsqd) => {
                let log = nsqd.with_nsqd(|nsqd| nsqd.log()).await;
                log.matches("] IDENTIFY: ").count()
            }
        }
    }

    /// What connected clients sent with IDENTIFY. A real nsqd shows only those that have
    /// published.
    pub async fn clients(&self) -> Vec<Value> {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => {
                let open = nsqd.connections().into_iter().filter(|client| client.open);
                open.filter_map(|client| client.identify).collect()
            }
            Nsqd::Real(nsqd) => {
                let clients = nsqd.with_nsqd(|nsqd| nsqd.producers()).await;
                clients.expect("nsqd returns its statistics")
            }
        }
    }

    /// What was negotiated with connected clients. A real nsqd shows only those that have
    /// published.
    pub async fn agreed(&self) -> Vec<Agreed> {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => {
                let open = nsqd.connections().into_iter().filter(|client| client.open);
                open.map(Agreed::of_embedded).collect()
            }
            Nsqd::Real(_) => self.clients().await.iter().map(Agreed::of_real).collect(),
        }
    }

    /// Waits until no client is connected.
    pub async fn until_no_client_is_left(&self) {
        let end = Instant::now() + wait::PATIENCE;
        while !self.clients().await.is_empty() {
            assert!(Instant::now() < end, "a client stays connected");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Number of connections to it that this process holds.
    pub async fn sockets_of_ours(&self) -> usize {
        let address = self.address().await;
        our_process::sockets_to(address.parse().expect("an address"))
    }

    /// For its faults.
    pub fn embedded(&self) -> &EmbeddedNsqd {
        match &self.nsqd {
            Nsqd::Embedded(nsqd) => nsqd,
            Nsqd::Real(_) => panic!("this is a real nsqd"),
        }
    }

    /// Leaves no space on the small disk of a real nsqd.
    pub async fn fill_disk(&self) {
        let filled = self.real().with_nsqd(|nsqd| nsqd.fill_disk()).await;
        filled.expect("the disk can be filled");
    }

    pub async fn free_disk(&self) {
        let freed = self.real().with_nsqd(|nsqd| nsqd.free_disk()).await;
        freed.expect("the disk can be freed");
    }

    pub fn real(&self) -> &SharedNsqd {
        match &self.nsqd {
            Nsqd::Real(nsqd) => nsqd,
            Nsqd::Embedded(_) => panic!("this is an embedded nsqd"),
        }
    }
}

impl SharedNsqd {
    /// Accesses the process on a blocking thread.
    pub async fn with_nsqd<T: Send + 'static>(
        &self,
        access: impl FnOnce(&mut RealNsqd) -> T + Send + 'static,
    ) -> T {
        self.with(|inner| access(&mut inner.nsqd)).await
    }

    async fn with<T: Send + 'static>(
        &self,
        access: impl FnOnce(&mut Inner) -> T + Send + 'static,
    ) -> T {
        let inner = Arc::clone(&self.0);
        let access = tokio::task::spawn_blocking(move || {
            access(&mut inner.lock().unwrap_or_else(PoisonError::into_inner))
        });
        match access.await {
            Ok(value) => value,
            Err(failure) => std::panic::resume_unwind(failure.into_panic()),
        }
    }
}

impl Inner {
    fn bodies(&mut self, topic: String, expected: usize) -> Vec<Vec<u8>> {
        let nsqd = &self.nsqd;
        let consumed = self.consumed.entry(topic.clone()).or_default();
        let missing = expected.saturating_sub(consumed.len());
        let left = || nsqd.unfinished(&topic).ok();
        let (access, address) = (&self.access, nsqd.address());
        let take = |id, body| consumed.push((id, body));
        raw_client::drain(access, &address, &topic, missing, left, take).expect("it is consumed");
        if !nsqd.delivers_in_order() {
            consumed.sort_by_key(|(id, _)| *id);
        }
        consumed.iter().map(|(_, body)| body.clone()).collect()
    }

    fn message_count(&self, topic: &str) -> usize {
        let unfinished = self
            .nsqd
            .unfinished(topic)
            .expect("nsqd returns its statistics");
        unfinished as usize + self.consumed.get(topic).map_or(0, Vec::len)
    }
}
