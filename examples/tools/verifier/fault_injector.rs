//! Injects faults into nsqd when they are due, while publishes are in flight, in a separate thread.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;

use crate::{
    options::Options,
    outages::MAX_RECOVERY,
    schedule::{Fault, Schedule},
    support::real_nsqd::RealNsqd,
    tracker::{InjectedFault, Tracker},
    violation::Violation,
};

/// Maximum wait for publishes in flight.
const MAX_WAIT: Duration = Duration::from_secs(2);

const IN_FLIGHT_POLL: Duration = Duration::from_micros(200);
const POLL: Duration = Duration::from_millis(5);

const MIN_FREEZE: Duration = Duration::from_millis(100);

/// The thread that injects the faults.
pub(crate) struct FaultInjector {
    thread: thread::JoinHandle<io::Result<RealNsqd>>,
    stop: Arc<AtomicBool>,
}

struct Injecting {
    nsqd: RealNsqd,
    tracker: Arc<Tracker>,
    schedule: Schedule,
    max_freeze: Duration,
    /// Injects faults only while nothing is in flight (`--sabotage idle`).
    idle: bool,
    rng: Rng,
    stop: Arc<AtomicBool>,
}

impl FaultInjector {
    /// Starts the thread.
    pub(crate) fn start(
        nsqd: RealNsqd,
        options: &Options,
        tracker: Arc<Tracker>,
        mut rng: Rng,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let faults = [
            (Fault::Kill9, options.kill9_every),
            (Fault::Sigterm, options.sigterm_every),
            (Fault::Sigstop, options.sigstop_every),
        ];
        let injecting = Injecting {
            nsqd,
            tracker,
            schedule: Schedule::new(&faults, rng.fork()),
            max_freeze: options.freeze.max(MIN_FREEZE),
            idle: options.sabotage == Some(Violation::Idle),
            rng,
            stop: Arc::clone(&stop),
        };
        let thread = thread::Builder::new()
            .name("fault-injector".into())
            .spawn(move || injecting.run())?;
        Ok(Self { thread, stop })
    }

    /// Returns whether the thread has ended, on request or by an error.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Makes the thread end after the current fault.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Returns the running nsqd once the thread [has ended](Self::has_ended).
    pub(crate) fn into_nsqd(self) -> io::Result<RealNsqd> {
        let ended = self.thread.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the fault injector panicked")))
    }
}

impl Injecting {
    fn run(mut self) -> io::Result<RealNsqd> {
        while !self.stop.load(Ordering::SeqCst) {
            match self.schedule.next() {
                Some((due, fault)) if due <= self.tracker.now() => {
                    let injected = self.inject(fault)?;
                    self.tracker.fault_ended(injected);
                    self.schedule.advance(fault, self.tracker.now());
                }
                _ => thread::sleep(POLL),
            }
        }
        Ok(self.nsqd)
    }

    fn inject(&mut self, fault: Fault) -> io::Result<InjectedFault> {
        // Otherwise nsqd itself would lose messages that it acknowledges from now on.
        if fault == Fault::Kill9 && !self.nsqd.becomes_recoverable() {
            return Err(io::Error::other("nsqd does not write its metadata"));
        }
        self.wait_for_in_flight();
        let (at, in_flight) = self.tracker.fault_begins();
        let maybe_before = self.tracker.progress().maybe;
        match fault {
            Fault::Kill9 => {
                self.nsqd.kill9()?;
                self.nsqd.restart()?;
            }
            Fault::Sigterm => {
                self.nsqd.sigterm()?;
                self.nsqd.restart()?;
            }
            Fault::Sigstop => {
                self.nsqd.sigstop()?;
                let range = MIN_FREEZE.as_secs_f64()..=self.max_freeze.as_secs_f64();
                let share = self.rng.f64();
                let freeze = range.start() + share * (range.end() - range.start());
                thread::sleep(Duration::from_secs_f64(freeze));
                self.nsqd.sigcont()?;
            }
        }
        self.tracker.nsqd_is_up();
        let up = self.tracker.now();
        let deadline = Instant::now() + MAX_RECOVERY;
        let stopped = || self.stop.load(Ordering::SeqCst);
        while self.tracker.unserved() > 0 && Instant::now() < deadline && !stopped() {
            thread::sleep(POLL);
        }
        let recovered = self.tracker.unserved() == 0 || stopped();
        Ok(InjectedFault {
            fault,
            at,
            in_flight,
            maybe: self.tracker.progress().maybe - maybe_before,
            down: up.saturating_sub(at),
            recovered: recovered.then(|| self.tracker.now().saturating_sub(at)),
        })
    }

    /// The load is an open loop, so at times nothing is in flight. A fault would then test nothing.
    fn wait_for_in_flight(&self) {
        let deadline = Instant::now() + MAX_WAIT;
        while (self.tracker.in_flight() == 0) != self.idle && Instant::now() < deadline {
            thread::sleep(IN_FLIGHT_POLL);
        }
    }
}
