//! The scripted peer: an nsqd that says and expects exactly what a test tells it to, and nothing else.
//!
//! ```ignore
//! let peer = ScriptedPeer::play(|mut client| async move {
//!     client.greet().await;
//!     client.expect_pub("topic", "body").await;
//!     client.send(ok_frame()).await;
//!     client.fin().await;
//! });
//! // ... talk to peer.address() ...
//! peer.finish().await;
//! ```
//!
//! A [`Conversation`] runs over any stream: in a `ScriptedPeer` over a loopback socket on a thread of its own, so that it plays
//! on whatever the test's runtime does; or over one end of a `tokio::io::duplex`, in the test's runtime and under its clock.

use std::net::Ipv4Addr;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::conversation::Conversation;
use super::wait::{self, PATIENCE};

/// Where the clients of a script come in, one after the other.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    script: Script,
}

impl Door {
    /// The next connection.
    #[track_caller]
    pub fn accept(&mut self) -> impl Future<Output = Conversation<TcpStream>> {
        let caller = Location::caller();
        async move {
            let accepted = tokio::time::timeout(PATIENCE, self.listener.accept()).await;
            let Ok(Ok((stream, from))) = accepted else {
                panic!(
                    "the script at {caller} expected a connection\n so far:\n{}",
                    self.script.transcript()
                )
            };
            self.script.note(format!("  (connection from {from})"));
            stream
                .set_nodelay(true)
                .expect("a fresh socket takes options");
            Conversation::of(self.script.clone(), stream)
        }
    }
}

/// A script that plays on a loopback socket, on its own thread. To be ended with [`finish`](Self::finish).
#[derive(Debug)]
pub struct ScriptedPeer {
    address: String,
    script: Script,
    thread: Option<JoinHandle<()>>,
}

impl ScriptedPeer {
    /// Plays a script with the first client that connects; a second one is refused.
    pub fn play<F, Fut>(script: F) -> Self
    where
        F: FnOnce(Conversation<TcpStream>) -> Fut + Send + 'static,
        Fut: Future<Output = ()>,
    {
        Self::play_door(|mut door| async move {
            let client = door.accept().await;
            drop(door);
            script(client).await;
        })
    }

    /// Plays a script that accepts its connections by itself.
    pub fn play_door<F, Fut>(script: F) -> Self
    where
        F: FnOnce(Door) -> Fut + Send + 'static,
        Fut: Future<Output = ()>,
    {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .expect("loopback has a free port");
        listener
            .set_nonblocking(true)
            .expect("a fresh socket takes options");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address")
            .to_string();
        let shared = Script::default();
        let for_door = shared.clone();
        let thread = std::thread::Builder::new()
            .name(format!("scripted peer {address}"))
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                runtime.expect("a small runtime").block_on(async {
                    let listener = TcpListener::from_std(listener).expect("a listening socket");
                    script(Door {
                        listener,
                        script: for_door,
                    })
                    .await;
                });
            });
        Self {
            address,
            script: shared,
            thread: Some(thread.expect("one more thread")),
        }
    }

    /// `host:port` to connect to.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Lets a stalling conversation go on.
    pub fn release(&self) {
        self.script.release();
    }

    /// Every byte received so far, over all connections.
    pub fn received(&self) -> Vec<u8> {
        self.script.received()
    }

    /// Waits for the end of the script; panics as the script did, or when it does not end. Returns the bytes received.
    #[track_caller]
    pub fn finish(mut self) -> impl Future<Output = Vec<u8>> {
        let caller = Location::caller();
        async move {
            let thread = self
                .thread
                .take()
                .expect("only finish takes the thread, and only once");
            // Longer than any step of the script may take, so that the script tells its failure itself.
            let ended = wait::comes_to_hold(PATIENCE * 2, || thread.is_finished()).await;
            assert!(
                ended,
                "{caller}: the script does not end; so far:\n{}",
                self.script.transcript()
            );
            if let Err(failure) = thread.join() {
                std::panic::resume_unwind(failure);
            }
            self.script.received()
        }
    }
}

impl Drop for ScriptedPeer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "the conversation of {} so far:\n{}",
                self.address,
                self.script.transcript()
            );
        } else if self.thread.is_some() {
            panic!("a scripted peer was dropped without finish(): its failures would go unseen");
        }
    }
}

/// What a peer and its test share: the record of what was said, and the word to go on.
#[derive(Clone, Debug, Default)]
pub struct Script {
    record: Arc<Mutex<Record>>,
    go_on: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Record {
    received: Vec<u8>,
    lines: Vec<String>,
}

impl Script {
    /// Lets a conversation that stalls, or the next one to stall, go on.
    pub fn release(&self) {
        self.go_on.notify_one();
    }

    /// Every byte received so far, over all connections.
    pub fn received(&self) -> Vec<u8> {
        self.with(|record| record.received.clone())
    }

    /// The conversation so far, for a reader.
    pub fn transcript(&self) -> String {
        self.with(|record| record.lines.join("\n"))
    }

    pub(super) async fn wait_released(&self) {
        self.go_on.notified().await;
    }

    pub(super) fn record_received(&self, bytes: &[u8]) {
        self.with(|record| record.received.extend_from_slice(bytes));
    }

    pub(super) fn note(&self, line: String) {
        self.with(|record| record.lines.push(line));
    }

    fn with<T>(&self, read_or_write: impl FnOnce(&mut Record) -> T) -> T {
        read_or_write(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
