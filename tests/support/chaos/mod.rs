//! A chaos proxy: a TCP port before a server, and between them a network as bad as it is told to be.
//!
//! It runs on a thread of its own, so that nothing a test does holds it up, and until it is dropped. What it does by chance
//! depends on its seed, and so can be done again: see [`seed`].
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "tests and an example share this tree, and each uses its own part of it"
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
        mpsc,
    },
    thread,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    runtime, select,
    sync::{broadcast, oneshot, watch},
    task,
    time::sleep,
};

use self::{
    connection::{Cut, Terms, serve},
    tally::{Tallies, Tally},
};
pub use self::{
    faults::{Direction, End, Faults, Way},
    tally::{Counts, Recorded, Recording},
};

/// Names a seed, for a failure to be seen again.
const SEED: &str = "CHAOS_SEED";

/// The seed that the variable `CHAOS_SEED` names, or else a new one.
pub fn seed() -> u64 {
    let named = std::env::var(SEED).ok();
    named
        .and_then(|text| {
            let seed = text.parse();
            seed.inspect_err(|e| eprintln!("{SEED}={text} is no seed: {e}"))
                .ok()
        })
        .unwrap_or_else(|| fastrand::u64(..))
}

/// A proxy that runs until it is dropped, and its connections with it.
///
/// A test that fails while it holds one is told with which seed and which faults.
pub struct ChaosProxy {
    address: SocketAddr,
    seed: u64,
    faults: watch::Sender<Faults>,
    cuts: broadcast::Sender<Cut>,
    tallies: Arc<Tallies>,
    records: Arc<AtomicBool>,
    /// Its end is the thread's.
    over: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl ChaosProxy {
    /// Listens on a free port of 127.0.0.1, and connects each client to `upstream`, `host:port`, which may come and go.
    pub fn start(upstream: impl Into<String>, faults: Faults, seed: u64) -> io::Result<Self> {
        Self::start_at("127.0.0.1:0", upstream, faults, seed)
    }

    /// The same with a loopback address for itself and those who come to it, from which it goes on to `upstream`, too: closed
    /// connections keep their ports for a minute, and of 127.0.0.1 a few thousand sessions leave none to anybody.
    pub fn start_apart(upstream: impl Into<String>, faults: Faults, seed: u64) -> io::Result<Self> {
        // Elsewhere there is one loopback address.
        let address = match cfg!(target_os = "linux") {
            true => own_address(),
            false => Ipv4Addr::LOCALHOST,
        };
        Self::start_at((address, 0), upstream, faults, seed)
    }

    /// The same, listening there.
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
        let (cuts, _) = broadcast::channel(16);
        let (over, is_over) = oneshot::channel();
        let door = Door {
            upstream: upstream.into().into(),
            from: Some(address.ip()).filter(|ip| ip.is_loopback() && *ip != Ipv4Addr::LOCALHOST),
            faults: faults.subscribe(),
            cuts: cuts.clone(),
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
                        Ok(listener) => door.accept(listener, is_over).await,
                        Err(e) => eprintln!("a chaos proxy cannot listen: {e}"),
                    }
                });
            })?;
        Ok(Self {
            address,
            seed,
            faults,
            cuts,
            tallies,
            records,
            over: Some(over),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Other faults from now on. Those of passing and stalling concern the connections that are open, too; what happens at a
    /// certain byte or age was decided for them when they were opened, and `times` counts anew.
    pub fn set(&self, faults: Faults) {
        self.faults.send_replace(faults);
    }

    /// Ends all connections that are open; they are over when this returns.
    pub fn cut(&self, how: End) {
        let (done, all_done) = mpsc::channel();
        if self.cuts.send(Cut { how, done }).is_ok() {
            // Nothing is ever sent: the end of the channel is the answer.
            let _ = all_done.recv();
        }
    }

    /// Records the connections that are opened from now on. They stay in memory.
    pub fn start_recording(&self) {
        self.records.store(true, Ordering::SeqCst);
    }

    /// What was recorded so far, connection by connection as they were opened.
    pub fn record(&self) -> Vec<Recorded> {
        self.tallies.records()
    }

    pub fn counts(&self) -> Counts {
        self.tallies.counts()
    }
}

/// One of the sixteen million, and of this process another one each time.
fn own_address() -> Ipv4Addr {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed) % 0xffff;
    let [high, low] = ((number + 1) as u16).to_be_bytes();
    // Test programs that run side by side seldom meet.
    let process = 1 + (std::process::id() % 254) as u8;
    Ipv4Addr::new(127, process, high, low)
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{self}; {SEED}={} does it again", self.seed);
        }
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was reported by it, and a `drop` must not add another.
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

/// Where the connections come in.
struct Door {
    upstream: Arc<str>,
    /// From which address it goes on, if not from any.
    from: Option<IpAddr>,
    faults: watch::Receiver<Faults>,
    cuts: broadcast::Sender<Cut>,
    tallies: Arc<Tallies>,
    records: Arc<AtomicBool>,
    seed: u64,
}

impl Door {
    /// Takes in clients until the proxy is dropped. The connections end with the runtime.
    async fn accept(mut self, listener: TcpListener, mut is_over: oneshot::Receiver<()>) {
        // Opened since the faults were last set.
        let mut opened = 0;
        loop {
            let accepted = select! {
                accepted = listener.accept() => accepted,
                _ = &mut is_over => return,
            };
            let Ok((client, _)) = accepted else {
                // Out of file descriptors, perhaps: it passes.
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            if self.faults.has_changed().unwrap_or(false) {
                opened = 0;
            }
            let then = self.faults.borrow_and_update().clone();
            let is_struck = then.times.is_none_or(|times| opened < times);
            opened += 1;
            let recorded = self.records.load(Ordering::SeqCst);
            let tally = Arc::new(Tally::open(&self.tallies, recorded));
            // Far from each other, and each from its neighbours' two ways.
            let apart = tally.number.wrapping_mul(0x9e37_79b9_7f4a_7c14);
            let terms = Terms {
                upstream: Arc::clone(&self.upstream),
                from: self.from,
                then,
                now: self.faults.clone(),
                is_struck,
                tally,
                seed: self.seed.wrapping_add(apart),
            };
            task::spawn(serve(client, terms, self.cuts.subscribe()));
        }
    }
}
