//! A TCP proxy with a bad network: it delays, slices, stalls, cuts, corrupts and records.
//!
//! It runs on its own thread until it is dropped. Its random choices depend on its seed: see
//! [`seed`].
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "tests and examples share this tree, and each uses its own part of it"
)]

mod connection;
mod faults;
mod pipe;
mod tally;

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    runtime, select,
    sync::{oneshot, watch},
    task,
    time::sleep,
};

use self::{
    connection::{Terms, serve},
    tally::{Tallies, Tally},
};
pub use self::{
    faults::{Direction, End, Faults, Way},
    tally::{Counts, Recorded, Recording},
};

/// Repeats the random choices of a run.
const SEED: &str = "CHAOS_SEED";

/// The seed in the variable `CHAOS_SEED`, or a random one.
pub fn seed() -> u64 {
    let named = std::env::var(SEED).ok();
    named
        .and_then(|text| {
            let seed = text.parse();
            seed.inspect_err(|e| eprintln!("{SEED}={text}: {e}")).ok()
        })
        .unwrap_or_else(|| fastrand::u64(..))
}

/// A proxy that runs until it is dropped, with its connections. A failing test prints its seed and
/// faults.
pub struct ChaosProxy {
    address: SocketAddr,
    seed: u64,
    faults: watch::Sender<Faults>,
    tallies: Arc<Tallies>,
    records: Arc<AtomicBool>,
    /// Dropped to end the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl ChaosProxy {
    /// Listens on a free port of 127.0.0.1 and connects each client to `upstream`, `host:port`.
    pub fn start(upstream: impl Into<String>, faults: Faults, seed: u64) -> io::Result<Self> {
        Self::start_at("127.0.0.1:0", upstream, faults, seed)
    }

    /// Like [`start`](Self::start), with its own loopback address, from which it also connects to
    /// `upstream`: closed connections keep their ports for a minute, so a few thousand sessions
    /// would exhaust those of 127.0.0.1.
    pub fn start_apart(upstream: impl Into<String>, faults: Faults, seed: u64) -> io::Result<Self> {
        // Other systems have one loopback address.
        let address = if cfg!(target_os = "linux") {
            own_address()
        } else {
            Ipv4Addr::LOCALHOST
        };
        Self::start_at((address, 0), upstream, faults, seed)
    }

    /// Listens on this address.
    pub fn start_at(
        listen: impl ToSocketAddrs,
        upstream: impl Into<String>,
        faults: Faults,
        seed: u64,
    ) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let (faults, _) = watch::channel(faults);
        let (stop, stopped) = oneshot::channel();
        let door = Door {
            upstream: upstream.into().into(),
            from: Some(address.ip()).filter(|ip| ip.is_loopback() && *ip != Ipv4Addr::LOCALHOST),
            faults: faults.subscribe(),
            tallies: Arc::default(),
            records: Arc::default(),
            seed,
        };
        let (tallies, records) = (Arc::clone(&door.tallies), Arc::clone(&door.records));
        let thread = thread::Builder::new()
            .name(format!("chaos-proxy-{}", address.port()))
            .spawn(move || {
                runtime.block_on(async {
                    match TcpListener::from_std(listener) {
                        Ok(listener) => door.accept(listener, stopped).await,
                        Err(e) => eprintln!("a chaos proxy cannot listen: {e}"),
                    }
                });
            })?;
        Ok(Self {
            address,
            seed,
            faults,
            tallies,
            records,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the faults. Latency, bandwidth, slices and stalls change for open connections too;
    /// cuts, corruption and ages do not. `times` counts from zero again.
    pub fn set(&self, faults: Faults) {
        self.faults.send_replace(faults);
    }

    /// Records the connections that are opened from now on.
    pub fn start_recording(&self) {
        self.records.store(true, Ordering::SeqCst);
    }

    /// The recorded connections, in the order in which they were opened.
    pub fn record(&self) -> Vec<Recorded> {
        self.tallies.records()
    }

    pub fn counts(&self) -> Counts {
        self.tallies.counts()
    }
}

/// Another address for each proxy of this process.
fn own_address() -> Ipv4Addr {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed) % 0xffff;
    let [high, low] = ((number + 1) as u16).to_be_bytes();
    // Concurrent test processes rarely share one.
    let process = 1 + (std::process::id() % 254) as u8;
    Ipv4Addr::new(127, process, high, low)
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{self}; {SEED}={} repeats it", self.seed);
        }
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread has reported its panic.
            let _ = thread.join();
        }
    }
}

impl fmt::Display for ChaosProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, faults, seed) = (self.address, self.faults.borrow(), self.seed);
        write!(
            f,
            "chaos proxy at {address}: faults {}, seed {seed}",
            *faults
        )
    }
}

impl fmt::Debug for ChaosProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Accepts the connections.
struct Door {
    upstream: Arc<str>,
    /// The local address of connections to `upstream`.
    from: Option<IpAddr>,
    faults: watch::Receiver<Faults>,
    tallies: Arc<Tallies>,
    records: Arc<AtomicBool>,
    seed: u64,
}

impl Door {
    /// Accepts until the proxy is dropped. The connections end with the runtime.
    async fn accept(mut self, listener: TcpListener, mut stopped: oneshot::Receiver<()>) {
        // Opened since the faults were last set.
        let mut opened = 0;
        loop {
            let accepted = select! {
                accepted = listener.accept() => accepted,
                _ = &mut stopped => return,
            };
            let Ok((client, _)) = accepted else {
                // Perhaps no file descriptor is available.
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            if self.faults.has_changed().unwrap_or(false) {
                opened = 0;
            }
            let initial = self.faults.borrow_and_update().clone();
            let is_struck = initial.times.is_none_or(|times| opened < times);
            opened += 1;
            let recorded = self.records.load(Ordering::SeqCst);
            let tally = Arc::new(Tally::open(&self.tallies, recorded));
            // Different seeds for all connections and both directions.
            let apart = tally.number.wrapping_mul(0x9e37_79b9_7f4a_7c14);
            let terms = Terms {
                upstream: Arc::clone(&self.upstream),
                from: self.from,
                initial,
                current: self.faults.clone(),
                is_struck,
                tally,
                seed: self.seed.wrapping_add(apart),
            };
            task::spawn(serve(client, terms));
        }
    }
}
