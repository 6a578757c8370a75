//! The state of an embedded nsqlookupd, behind one lock.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    time::Instant,
};

use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    watch,
};

use super::{
    fault_state::FaultState,
    registry::{Lifetimes, Registry},
};
use crate::embedded::inspect::ReceivedCommand;

/// Number of queries and commands that are kept; bounds the memory of a long run.
const KEPT: usize = 10_000;

/// nsqlookupd's flags.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) lifetimes: Lifetimes,
    pub(super) broadcast_address: String,
    pub(super) version: String,
}

/// What the handle and the tasks of the server share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    state: Mutex<State>,
    /// Notified on every change that the handle can see.
    pub(super) changes: watch::Sender<()>,
    /// Notified when a fault was switched.
    pub(super) fault_changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) registry: Registry,
    pub(super) faults: FaultState,
    pub(super) format: Format,
    pub(super) stopped: bool,
    /// The newest HTTP requests, and the number of all by path.
    pub(super) queries: VecDeque<Query>,
    pub(super) query_counts: BTreeMap<String, u64>,
    /// The newest commands of nsqds, and the number of all by name.
    pub(super) commands: VecDeque<ReceivedCommand>,
    pub(super) command_counts: BTreeMap<String, u64>,
    /// The open connections.
    pub(super) connections: BTreeMap<u64, Connection>,
    /// The number of all connections to the HTTP port.
    pub(super) http_connections: u64,
    last_connection: u64,
}

/// The version whose answers are given; see `LookupdFormat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Format {
    #[default]
    Plain,
    Negotiated,
    Wrapped {
        with_address: bool,
    },
}

/// An HTTP request.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) connection: u64,
    pub(super) received: Instant,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) kind: Kind,
    /// The nsqd that has identified itself.
    pub(super) peer: Option<u64>,
    /// Closes it: the sender is dropped when that is done.
    close: UnboundedSender<mpsc::Sender<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    Tcp,
}

impl Shared {
    pub(super) fn new(options: Options, format: Format) -> Arc<Self> {
        let state = State {
            format,
            ..State::default()
        };
        Arc::new(Self {
            options,
            state: Mutex::new(state),
            changes: watch::Sender::new(()),
            fault_changes: watch::Sender::new(()),
        })
    }

    /// Ignores a poisoned lock, so that a test can still inspect after a panic.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and notifies those who wait for it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.changes.send_replace(());
        changed
    }

    /// Returns when it is not frozen.
    pub(super) async fn until_thawed(&self) {
        let mut changes = self.fault_changes.subscribe();
        while self.state().faults.freeze {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

/// An open connection, which leaves the state when this is dropped.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) shared: Arc<Shared>,
    pub(super) number: u64,
}

impl Open {
    /// Adds a connection. The receiver gets the requests to close it.
    pub(super) fn new(
        shared: &Arc<Shared>,
        kind: Kind,
    ) -> (Self, UnboundedReceiver<mpsc::Sender<()>>) {
        let (close, requests) = unbounded_channel();
        let number = shared.change(|state| {
            state.last_connection += 1;
            state.http_connections += u64::from(kind == Kind::Http);
            let peer = None;
            let connection = Connection { kind, peer, close };
            state.connections.insert(state.last_connection, connection);
            state.last_connection
        });
        let open = Self {
            shared: Arc::clone(shared),
            number,
        };
        (open, requests)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.change(|state| {
            let connection = state.connections.remove(&self.number);
            if let Some(peer) = connection.and_then(|connection| connection.peer) {
                state.registry.disconnect(peer);
            }
        });
    }
}

impl State {
    /// Asks matching connections to close. The receiver is disconnected when that is done.
    pub(super) fn close_connections(
        &self,
        matches: impl Fn(&Connection) -> bool,
    ) -> mpsc::Receiver<()> {
        let (sender, done) = mpsc::channel();
        for connection in self.connections.values().filter(|it| matches(it)) {
            // Fails if the connection is being closed, which is fine.
            let _ = connection.close.send(sender.clone());
        }
        done
    }

    pub(super) fn record_query(&mut self, query: Query) {
        count(&mut self.query_counts, &query.path);
        push(&mut self.queries, query);
    }

    pub(super) fn record_command(&mut self, command: ReceivedCommand) {
        count(&mut self.command_counts, &command.name);
        push(&mut self.commands, command);
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count += 1;
    } else if counts.len() < KEPT {
        counts.insert(name.to_owned(), 1);
    }
}

fn push<T>(kept: &mut VecDeque<T>, new: T) {
    if kept.len() == KEPT {
        kept.pop_front();
    }
    kept.push_back(new);
}
