//! `--rate`: the times at which messages are due, and a pacer that wakes the callers at these
//! times.

use std::{
    cell::RefCell,
    collections::VecDeque,
    convert::Infallible,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// The times at which messages are due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    started: Instant,
    /// Messages per second.
    rate: f64,
}

impl Schedule {
    pub(crate) fn new(started: Instant, rate: f64) -> Self {
        Self { started, rate }
    }

    /// The time at which a message is due; numbers begin at 0.
    pub(crate) fn due(&self, number: u64) -> Instant {
        self.started + Duration::from_secs_f64(number as f64 / self.rate)
    }
}

/// Wakes each caller when its message is due. Callers wait in the order of their messages, so one
/// timer serves all.
#[derive(Debug, Default)]
pub(crate) struct Pacer {
    waiters: RefCell<VecDeque<(Instant, Rc<Notify>)>>,
    added: Notify,
}

impl Pacer {
    /// Waits until `due`. Each caller has a `Notify` of its own; due times must not decrease from
    /// call to call.
    pub(crate) async fn wait(&self, due: Instant, notify: &Rc<Notify>) {
        self.waiters.borrow_mut().push_back((due, notify.clone()));
        self.added.notify_one();
        notify.notified().await;
    }

    /// Wakes the callers, as long as it is polled.
    pub(crate) async fn run(&self) -> io::Result<Infallible> {
        let mut timer = Timer::new()?;
        loop {
            let Some(next) = self.waiters.borrow().front().map(|(due, _)| *due) else {
                self.added.notified().await;
                continue;
            };
            let now = Instant::now();
            if next > now {
                timer.wait(next - now).await?;
                continue;
            }
            let mut waiters = self.waiters.borrow_mut();
            while let Some((due, notify)) = waiters.pop_front() {
                if due > now {
                    waiters.push_front((due, notify));
                    break;
                }
                notify.notify_one();
            }
        }
    }
}

/// A `timerfd`. The resolution of tokio's timer, 1 ms, is many times the latency of a local nsqd.
#[cfg(target_os = "linux")]
struct Timer(tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>);

#[cfg(target_os = "linux")]
impl Timer {
    #[allow(
        deprecated,
        reason = "the oldest supported tokio lacks the replacement of `new`"
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
            // `Err`: a spurious wakeup.
            if let Ok(read) = read {
                return read.map(drop);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
struct Timer;

#[cfg(not(target_os = "linux"))]
impl Timer {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn wait(&mut self, time: Duration) -> io::Result<()> {
        tokio::time::sleep(time).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::future::join_all;

    use super::*;

    #[test]
    fn messages_are_due_at_equal_intervals_without_drift() {
        let started = Instant::now();
        let due = |rate, number| Schedule::new(started, rate).due(number) - started;
        assert_eq!(due(1_000.0, 0), Duration::ZERO);
        assert_eq!(due(1_000.0, 1), Duration::from_millis(1));
        assert_eq!(due(0.5, 3), Duration::from_secs(6));
        let hour = due(3e6, 3 * 3_600 * 1_000_000);
        assert!(
            hour.abs_diff(Duration::from_secs(3_600)) < Duration::from_micros(1),
            "{hour:?}"
        );
    }

    #[actix_nsq::actix::test]
    async fn caller_is_woken_when_its_message_is_due() {
        let (pacer, woken) = (Pacer::default(), Cell::new(0));
        // Some at the same time, one in the past.
        let times = [0, 0, 300, 300, 900, 2_500].map(Duration::from_micros);
        let started = Instant::now();
        let callers = times.iter().enumerate().map(|(number, time)| {
            let (pacer, woken) = (&pacer, &woken);
            async move {
                pacer.wait(started + *time, &Rc::default()).await;
                assert!(started.elapsed() >= *time, "{number} was woken too early");
                woken.set(woken.get() + 1);
            }
        });
        let finished = tokio::time::timeout(Duration::from_secs(10), async {
            tokio::select! {
                _ = join_all(callers) => {}
                error = pacer.run() => match error.unwrap() {},
            }
        });
        finished.await.expect("all callers are woken");
        assert_eq!(woken.get(), times.len());
        assert!(pacer.waiters.borrow().is_empty());
    }
}
