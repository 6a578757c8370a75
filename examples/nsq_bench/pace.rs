//! `--rate`: a schedule that says when each message is due, and a pacer that wakes the callers by it.

use std::{
    cell::RefCell,
    collections::VecDeque,
    convert::Infallible,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// When each message is due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    began: Instant,
    /// Messages per second.
    rate: f64,
}

impl Schedule {
    pub(crate) fn new(began: Instant, rate: f64) -> Self {
        Self { began, rate }
    }

    /// When the message of this number, from 0, is due.
    pub(crate) fn due(&self, number: u64) -> Instant {
        self.began + Duration::from_secs_f64(number as f64 / self.rate)
    }
}

/// Wakes each caller when its message is due. One alarm serves all, since they come in the order of their messages.
#[derive(Debug, Default)]
pub(crate) struct Pacer {
    line: RefCell<VecDeque<(Instant, Rc<Notify>)>>,
    came: Notify,
}

impl Pacer {
    /// Returns when that time has come. `bell` is the caller's own; no other's time may be earlier who comes later.
    pub(crate) async fn wait(&self, due: Instant, bell: &Rc<Notify>) {
        self.line.borrow_mut().push_back((due, bell.clone()));
        self.came.notify_one();
        bell.notified().await;
    }

    /// Rings, as long as it is polled.
    pub(crate) async fn ring(&self) -> io::Result<Infallible> {
        let mut alarm = Alarm::new()?;
        loop {
            let Some(next) = self.line.borrow().front().map(|(due, _)| *due) else {
                self.came.notified().await;
                continue;
            };
            let now = Instant::now();
            if next > now {
                alarm.wait(next - now).await?;
                continue;
            }
            let mut line = self.line.borrow_mut();
            while let Some((due, bell)) = line.pop_front() {
                if due > now {
                    line.push_front((due, bell));
                    break;
                }
                bell.notify_one();
            }
        }
    }
}

/// A timer of the system's own: tokio's has a grain of a millisecond, which is many times the latency of an nsqd nearby.
#[cfg(target_os = "linux")]
struct Alarm(tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>);

#[cfg(target_os = "linux")]
impl Alarm {
    #[allow(
        deprecated,
        reason = "what stands for `new` is younger than the oldest tokio that will do"
    )]
    fn new() -> io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self(tokio::io::unix::AsyncFd::new(timer)?))
    }

    async fn wait(&mut self, time: Duration) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

        let never = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let time = Timespec::try_from(time).map_err(io::Error::other)?;
        let once = Itimerspec {
            it_interval: never,
            it_value: time,
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.0.readable().await?;
            let mut times = [0; 8];
            let read = ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut times)?));
            // An error here is that of a readiness which was none.
            if let Ok(read) = read {
                return read.map(drop);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
struct Alarm;

#[cfg(not(target_os = "linux"))]
impl Alarm {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn wait(&mut self, time: Duration) -> io::Result<()> {
        tokio::time::sleep(time).await;
        Ok(())
    }
}
