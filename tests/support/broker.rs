//! One broker, of either kind, with the operations that a scenario needs of both.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_nsq::embedded::EmbeddedNsqd;
use serde_json::Value;

use super::raw_client;
use super::real_nsqd::{DURABLE, RealNsqd};
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

/// The limits of a broker; by default nsqd's own.
#[derive(Clone, Debug)]
pub struct Settings {
    pub max_msg_size: usize,
    pub max_body_size: usize,
    pub max_req_timeout: Duration,
    /// A real nsqd keeps its queue in memory, as it does by default, and not on the disk (see [`DURABLE`]): needed for
    /// deferred messages and ephemeral topics, which have no place there.
    pub in_memory: bool,
    /// A real nsqd has a disk of its own, of so many bytes, that can be filled; its scenario needs [`small_disk`](super::small_disk).
    pub disk: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_msg_size: 1024 * 1024,
            max_body_size: 5 * 1024 * 1024,
            max_req_timeout: Duration::from_secs(3600),
            in_memory: false,
            disk: None,
        }
    }
}

/// A running nsqd. Its methods are asynchronous because a real one is slow to start and to empty, and the test's own actors
/// must live on meanwhile; a failure of the broker itself panics.
#[derive(Debug)]
pub enum Broker {
    Embedded(EmbeddedNsqd),
    Real(DrainedNsqd),
}

/// A real nsqd, and what has been received from it: a message leaves nsqd when it is looked at.
#[derive(Clone, Debug)]
pub struct DrainedNsqd(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    nsqd: RealNsqd,
    drained: HashMap<String, Vec<Vec<u8>>>,
}

impl Broker {
    /// Starts one on free ports. A real one writes each message to its disk before it says OK (see [`DURABLE`]).
    pub async fn start(kind: Kind, settings: Settings) -> Self {
        let Settings {
            max_msg_size,
            max_body_size,
            max_req_timeout,
            in_memory,
            disk,
        } = settings;
        match kind {
            Kind::Embedded => {
                let builder = EmbeddedNsqd::builder()
                    .max_msg_size(max_msg_size)
                    .max_body_size(max_body_size);
                let nsqd = builder.max_req_timeout(max_req_timeout).start();
                Self::Embedded(nsqd.expect("an embedded nsqd starts"))
            }
            Kind::Real => {
                let durable = if in_memory { &[] } else { DURABLE };
                let mut flags: Vec<String> =
                    durable.iter().map(|flag| (*flag).to_owned()).collect();
                flags.push(format!("--max-msg-size={max_msg_size}"));
                flags.push(format!("--max-body-size={max_body_size}"));
                flags.push(format!(
                    "--max-req-timeout={}ms",
                    max_req_timeout.as_millis()
                ));
                let nsqd = tokio::task::spawn_blocking(move || RealNsqd::start_on(disk, &flags));
                let nsqd = nsqd
                    .await
                    .expect("starting does not panic")
                    .expect("a real nsqd starts");
                Self::Real(DrainedNsqd(Arc::new(Mutex::new(Inner {
                    nsqd,
                    drained: HashMap::new(),
                }))))
            }
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Embedded(_) => Kind::Embedded,
            Self::Real(_) => Kind::Real,
        }
    }

    /// `host:port` for a producer; the same after a restart.
    pub async fn address(&self) -> String {
        match self {
            Self::Embedded(nsqd) => nsqd.address().to_string(),
            Self::Real(nsqd) => nsqd.with(|inner| inner.nsqd.address()).await,
        }
    }

    /// The bodies of all messages of a topic stored so far, in the order the broker gives them out.
    ///
    /// A real nsqd is emptied by a consumer, whose channel is created by the first call: call it when the faults are over,
    /// because nsqd loses what is on its way to a channel when it is killed. `expected` says when to stop waiting for more.
    pub async fn bodies(&self, topic: &str, expected: usize) -> Vec<Vec<u8>> {
        match self {
            Self::Embedded(nsqd) => nsqd
                .messages(topic)
                .into_iter()
                .map(|message| message.body.to_vec())
                .collect(),
            Self::Real(nsqd) => {
                let topic = topic.to_owned();
                nsqd.with(move |inner| inner.bodies(topic, expected)).await
            }
        }
    }

    /// How many messages of a topic are stored so far. After a kill -9, a real nsqd's count is only near the truth; its
    /// [`bodies`](Self::bodies) are the truth.
    pub async fn message_count(&self, topic: &str) -> usize {
        match self {
            Self::Embedded(nsqd) => nsqd.message_count(topic),
            Self::Real(nsqd) => {
                let topic = topic.to_owned();
                nsqd.with(move |inner| inner.message_count(&topic)).await
            }
        }
    }

    /// Ends it without a goodbye: kill -9, or reset connections and a closed port. What it stored is kept.
    pub async fn kill(&self) {
        match self {
            Self::Embedded(nsqd) => {
                nsqd.faults().reset_connections();
                nsqd.stop();
                // Frozen or not, a process that is killed is gone.
                nsqd.faults().freeze(false);
            }
            Self::Real(nsqd) => {
                nsqd.with(|inner| inner.nsqd.kill9().expect("nsqd can be killed"))
                    .await
            }
        }
    }

    /// Ends it as its supervisor would, and waits for its end: SIGTERM, or closed connections and a closed port.
    pub async fn terminate(&self) {
        match self {
            Self::Embedded(nsqd) => nsqd.stop(),
            Self::Real(nsqd) => {
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
        match self {
            Self::Embedded(nsqd) => nsqd.restart().expect("an embedded nsqd starts again"),
            Self::Real(nsqd) => {
                nsqd.with(|inner| inner.nsqd.restart().expect("a real nsqd starts again"))
                    .await
            }
        }
    }

    /// Deletes a topic and its messages.
    pub async fn delete_topic(&self, topic: &str) {
        match self {
            Self::Embedded(nsqd) => assert!(nsqd.delete_topic(topic), "there is no {topic}"),
            Self::Real(nsqd) => {
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
        if let Self::Real(nsqd) = self {
            let recoverable = nsqd.with(|inner| inner.nsqd.becomes_recoverable()).await;
            assert!(recoverable, "nsqd does not write its metadata");
        }
    }

    /// Frozen, it keeps its connections and does nothing: SIGSTOP and SIGCONT.
    pub async fn freeze(&self, frozen: bool) {
        match self {
            Self::Embedded(nsqd) => nsqd.faults().freeze(frozen),
            Self::Real(nsqd) => {
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

/// What the broker knows of its clients.
impl Broker {
    /// How many connections have introduced themselves (IDENTIFY) so far, over all restarts.
    pub async fn handshakes(&self) -> usize {
        match self {
            Self::Embedded(nsqd) => {
                usize::try_from(nsqd.command_count("IDENTIFY")).expect("a count of a test")
            }
            Self::Real(nsqd) => {
                let log = nsqd.with(|inner| inner.nsqd.log()).await;
                log.matches("] IDENTIFY: ").count()
            }
        }
    }

    /// The clients that are connected: what they said of themselves. A real nsqd tells only of those that have published.
    pub async fn clients(&self) -> Vec<Value> {
        match self {
            Self::Embedded(nsqd) => {
                let open = nsqd.connections().into_iter().filter(|client| client.open);
                open.filter_map(|client| client.identify).collect()
            }
            Self::Real(nsqd) => {
                let told = nsqd.with(|inner| inner.nsqd.producers()).await;
                told.expect("nsqd tells its statistics")
            }
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
        match self {
            Self::Embedded(nsqd) => nsqd,
            Self::Real(_) => panic!("this scenario is for the embedded nsqd only"),
        }
    }

    /// The real one, for what only a process can do.
    pub fn real(&self) -> &DrainedNsqd {
        match self {
            Self::Real(nsqd) => nsqd,
            Self::Embedded(_) => panic!("this scenario is for a real nsqd only"),
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
        let more = raw_client::drain(&nsqd.address(), &topic, missing, left);
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
