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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::future::join_all;

    use super::*;

    #[test]
    fn messages_are_due_at_even_distances_from_the_first_and_no_error_adds_up() {
        let began = Instant::now();
        let due = |rate, number| Schedule::new(began, rate).due(number) - began;
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
    async fn every_caller_is_woken_in_its_turn_and_never_before_its_time() {
        let (pacer, woken) = (Pacer::default(), Cell::new(0));
        // Some together, some alone, and one whose time is over already.
        let times = [0, 0, 300, 300, 900, 2_500].map(Duration::from_micros);
        let began = Instant::now();
        let callers = times.iter().enumerate().map(|(number, time)| {
            let (pacer, woken) = (&pacer, &woken);
            async move {
                pacer.wait(began + *time, &Rc::default()).await;
                assert!(began.elapsed() >= *time, "{number} was woken too early");
                woken.set(woken.get() + 1);
            }
        });
        let rung = tokio::time::timeout(Duration::from_secs(10), async {
            tokio::select! {
                _ = join_all(callers) => {}
                failed = pacer.ring() => match failed.unwrap() {},
            }
        });
        rung.await.expect("somebody is not woken");
        assert_eq!(woken.get(), times.len());
        assert!(pacer.line.borrow().is_empty());
    }
}
