//! The striker: on a thread of its own it does to nsqd what is due, while publishes are in flight.

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
    board::{Board, Strike},
    options::Options,
    outages::LONGEST_WAY_BACK,
    sabotage::Sabotage,
    schedule::{Fault, Schedule},
    support::real_nsqd::RealNsqd,
};

/// How long to wait for a moment at which something is in flight, or for one at which nothing is.
const MOMENT: Duration = Duration::from_secs(2);

const GLANCE: Duration = Duration::from_micros(200);
const NAP: Duration = Duration::from_millis(5);

/// The shortest freeze.
const SHORTEST: Duration = Duration::from_millis(100);

pub(crate) struct Striker {
    nsqd: RealNsqd,
    board: Arc<Board>,
    schedule: Schedule,
    longest_freeze: Duration,
    idle: bool,
    rng: Rng,
    over: Arc<AtomicBool>,
}

/// The striker at work.
pub(crate) struct Striking {
    thread: thread::JoinHandle<io::Result<RealNsqd>>,
    over: Arc<AtomicBool>,
}

impl Striking {
    /// Starts it; it says on the board what it does.
    pub(crate) fn begin(
        nsqd: RealNsqd,
        options: &Options,
        board: Arc<Board>,
        mut rng: Rng,
    ) -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let faults = [
            (Fault::Kill9, options.kill9_every),
            (Fault::Sigterm, options.sigterm_every),
            (Fault::Sigstop, options.sigstop_every),
        ];
        let striker = Striker {
            nsqd,
            board,
            schedule: Schedule::new(&faults, rng.fork()),
            longest_freeze: options.freeze.max(SHORTEST),
            idle: options.sabotage == Some(Sabotage::Idle),
            rng,
            over: Arc::clone(&over),
        };
        let thread = thread::Builder::new()
            .name("striker".into())
            .spawn(move || striker.run())?;
        Ok(Self { thread, over })
    }

    /// Whether it has ended, as it was asked to, or because it had to give up.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Lets it end what it is doing, and no more.
    pub(crate) fn ask_to_end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// Gives nsqd back, running, when it [has ended](Self::has_ended).
    pub(crate) fn end(self) -> io::Result<RealNsqd> {
        let ended = self.thread.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the striker has panicked")))
    }
}

impl Striker {
    fn run(mut self) -> io::Result<RealNsqd> {
        while !self.over.load(Ordering::SeqCst) {
            match self.schedule.next() {
                Some((due, fault)) if due <= self.board.now() => {
                    let strike = self.strike(fault)?;
                    self.board.struck(strike);
                    self.schedule.advance(fault, self.board.now());
                }
                _ => thread::sleep(NAP),
            }
        }
        Ok(self.nsqd)
    }

    fn strike(&mut self, fault: Fault) -> io::Result<Strike> {
        // Else the loss of what nsqd says OK to in a moment would be its own.
        if fault == Fault::Kill9 && !self.nsqd.becomes_recoverable() {
            return Err(io::Error::other("nsqd does not write its metadata"));
        }
        self.await_moment();
        let (at, in_flight) = self.board.strike();
        let maybe_before = self.board.progress().maybe;
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
                let range = SHORTEST.as_secs_f64()..=self.longest_freeze.as_secs_f64();
                let share = self.rng.f64();
                let freeze = range.start() + share * (range.end() - range.start());
                thread::sleep(Duration::from_secs_f64(freeze));
                self.nsqd.sigcont()?;
            }
        }
        self.board.nsqd_is_back();
        let back = self.board.now();
        let end = Instant::now() + LONGEST_WAY_BACK;
        while self.board.away() > 0 && Instant::now() < end && !self.over.load(Ordering::SeqCst) {
            thread::sleep(NAP);
        }
        let is_back = self.board.away() == 0 || self.over.load(Ordering::SeqCst);
        Ok(Strike {
            fault,
            at,
            in_flight,
            maybe: self.board.progress().maybe - maybe_before,
            down: back.saturating_sub(at),
            back: is_back.then(|| self.board.now().saturating_sub(at)),
        })
    }

    /// In open loop, there are moments with nothing in flight: a fault then would prove nothing.
    fn await_moment(&self) {
        let end = Instant::now() + MOMENT;
        while (self.board.in_flight() == 0) != self.idle && Instant::now() < end {
            thread::sleep(GLANCE);
        }
    }
}
