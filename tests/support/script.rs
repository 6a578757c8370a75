//! The scripted peer: sends and expects exactly what a test says.
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
//! A [`Conversation`] runs over any stream: here over a loopback socket on its own thread, or over
//! one end of a `tokio::io::duplex`, in the test's runtime and with its clock.

use std::net::Ipv4Addr;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::conversation::Conversation;
use super::wait::{self, PATIENCE};

/// A script that runs on its own thread, over a loopback socket. Must be [finished](Self::finish).
#[derive(Debug)]
pub struct ScriptedPeer {
    address: String,
    script: Script,
    thread: Option<JoinHandle<()>>,
}

impl ScriptedPeer {
    /// Runs a script with the first client, and rejects further connections.
    #[track_caller]
    pub fn play<F, Fut>(script: F) -> Self
    where
        F: FnOnce(Conversation<TcpStream>) -> Fut + Send + 'static,
        Fut: Future<Output = ()>,
    {
        let caller = Location::caller();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a fresh socket");
        let address = listener.local_addr().expect("a bound socket").to_string();
        let shared = Script::default();
        let its_script = shared.clone();
        let play = async move || {
            let listener = TcpListener::from_std(listener).expect("a listening socket");
            let accepted = tokio::time::timeout(PATIENCE, listener.accept()).await;
            let Ok(Ok((stream, _))) = accepted else {
                panic!("the script at {caller} expected a connection");
            };
            drop(listener);
            its_script.note("  (connection)".to_owned());
            stream.set_nodelay(true).expect("a fresh socket");
            script(Conversation::of(its_script, stream)).await;
        };
        let thread = std::thread::Builder::new().name(format!("scripted peer {address}"));
        let thread = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(play());
        });
        Self {
            address,
            script: shared,
            thread: Some(thread.expect("a thread")),
        }
    }

    /// `host:port` to connect to.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Ends a [`stall`](Conversation::stall), or the next one.
    pub fn release(&self) {
        self.script.release();
    }

    /// All bytes received so far.
    pub fn received(&self) -> Vec<u8> {
        self.script.received()
    }

    /// Waits for the end of the script and returns the bytes received. Panics if the script did.
    #[track_caller]
    pub fn finish(mut self) -> impl Future<Output = Vec<u8>> {
        let caller = Location::caller();
        async move {
            let thread = self.thread.take().expect("finish takes the thread once");
            // Longer than any step, so that the script reports its failure itself.
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
            panic!("finish() was not called, so failures of the script would be missed");
        }
    }
}

/// Shared by a peer and its test: the transcript, and the end of a stall.
#[derive(Clone, Debug, Default)]
pub struct Script {
    record: Arc<Mutex<Record>>,
    released: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Record {
    received: Vec<u8>,
    lines: Vec<String>,
}

impl Script {
    /// Ends a [`stall`](Conversation::stall), or the next one.
    pub fn release(&self) {
        self.released.notify_one();
    }

    /// All bytes received so far.
    pub fn received(&self) -> Vec<u8> {
        self.with(|record| record.received.clone())
    }

    /// The conversation so far.
    pub fn transcript(&self) -> String {
        self.with(|record| record.lines.join("\n"))
    }

    pub(super) async fn wait_released(&self) {
        self.released.notified().await;
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
