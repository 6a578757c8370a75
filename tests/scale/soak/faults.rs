//! nsqds behind proxies that reset connections, and the thread that freezes and restarts them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::real_nsqd::RealNsqd;
use crate::support::tool::Tool;
use crate::support::wait::{PATIENCE, poll};

/// The proxies reset each connection at this age.
const NETWORK: &str = "cut-every=3s,end=rst";

/// Time between two faults of an nsqd.
const INTERVAL: Duration = Duration::from_secs(4);

/// Longer than two heartbeats, so that connections time out.
const FREEZE: Duration = Duration::from_millis(2_500);

/// Time within which each fault has occurred.
pub const CYCLE: Duration = Duration::from_secs(25);

const NSQDS: usize = 2;

pub struct Faults {
    nsqds: Vec<RealNsqd>,
    _proxies: Vec<Tool>,
    addresses: Vec<String>,
}

/// How often each fault was injected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Injected {
    pub freezes: usize,
    pub restarts: usize,
}

impl Faults {
    /// Starts nsqds and proxies.
    pub fn new() -> io::Result<Self> {
        let nsqds = (0..NSQDS).map(|_| RealNsqd::start::<&str>(&[]));
        let nsqds = nsqds.collect::<io::Result<Vec<_>>>()?;
        let proxy = |nsqd: &RealNsqd| {
            let options = ["--upstream", &nsqd.address(), "--faults", NETWORK];
            Tool::start("chaos_proxy", &options.map(str::to_owned))
        };
        let proxies = nsqds.iter().map(proxy).collect::<io::Result<Vec<_>>>()?;
        let printed = |proxy: &Tool| Some(proxy.stdout().split_once('\n')?.0.to_owned());
        let address = |proxy| poll(PATIENCE, || printed(proxy));
        let addresses: Option<Vec<_>> = proxies.iter().map(address).collect();
        Ok(Self {
            nsqds,
            _proxies: proxies,
            addresses: addresses.ok_or_else(|| io::Error::other("a proxy prints no address"))?,
        })
    }

    /// The addresses of the proxies.
    pub fn addresses(&self) -> Vec<String> {
        self.addresses.clone()
    }

    /// Injects faults until it is stopped.
    pub fn start(self) -> Injecting {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        Injecting {
            stop,
            thread: thread::spawn(move || self.inject(&stopped)),
        }
    }

    fn inject(mut self, stopped: &AtomicBool) -> io::Result<(Self, Injected)> {
        let mut injected = Injected::default();
        let pause = |time: Duration| {
            let end = Instant::now() + time;
            while Instant::now() < end && !stopped.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(20));
            }
        };
        for turn in 0_usize.. {
            pause(INTERVAL);
            if stopped.load(Ordering::SeqCst) {
                break;
            }
            // Freeze one, restart the other, and then the other way round.
            let nsqd = &mut self.nsqds[turn.div_ceil(2) % NSQDS];
            if turn % 2 == 0 {
                nsqd.sigstop()?;
                pause(FREEZE);
                nsqd.sigcont()?;
                injected.freezes += 1;
            } else {
                nsqd.sigterm()?;
                nsqd.restart()?;
                injected.restarts += 1;
            }
        }
        Ok((self, injected))
    }
}

/// The thread of the faults.
pub struct Injecting {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<(Faults, Injected)>>,
}

impl Injecting {
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// All nsqds are running.
    pub fn end(self) -> io::Result<(Faults, Injected)> {
        self.thread.join().expect("the thread does not panic")
    }
}
