//! A timer that costs next to nothing while it is not due.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use tokio::{
    task::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

/// A [`Sleep`] that is asked only when it has fired, or has to know of another waker.
#[derive(Debug)]
pub(crate) struct LazyTimer {
    sleep: Pin<Box<Sleep>>,
    /// Whom it wakes.
    waker: Option<Waker>,
}

impl LazyTimer {
    pub(crate) fn new(due: Instant) -> Self {
        Self {
            sleep: Box::pin(sleep_until(due)),
            waker: None,
        }
    }

    pub(crate) fn due(&self) -> Instant {
        self.sleep.deadline()
    }

    pub(crate) fn has_fired(&self) -> bool {
        self.sleep.is_elapsed()
    }

    pub(crate) fn set(&mut self, due: Instant) {
        self.sleep.as_mut().reset(due);
        self.waker = None;
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_known = |waker: &Waker| waker.will_wake(cx.waker());
        if self.waker.as_ref().is_some_and(is_known) && !self.has_fired() {
            return Poll::Pending;
        }
        // A task that has done much in one go would be put off by tokio, and the timer not know whom to wake.
        let polled = pin!(unconstrained(self.sleep.as_mut())).poll(cx);
        self.waker = polled.is_pending().then(|| cx.waker().clone());
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::{
        task::{consume_budget, coop::has_budget_remaining},
        time::timeout,
    };

    use super::*;

    /// A task that has done much in one go is refused by tokio's timers, which then do not know whom to wake.
    #[tokio::test(start_paused = true)]
    async fn it_rings_for_a_task_that_had_no_budget_left() {
        let mut timer = LazyTimer::new(Instant::now() + Duration::from_secs(1));
        let mut polls = 0;
        let rings = poll_fn(move |cx| {
            polls += 1;
            while polls == 1 && has_budget_remaining() {
                let _ = pin!(consume_budget()).poll(cx);
            }
            timer.poll(cx)
        });
        let start = Instant::now();
        let rings = tokio::spawn(async move {
            let _ = timeout(Duration::from_secs(5), rings).await;
            start.elapsed()
        });
        assert!(rings.await.unwrap() < Duration::from_secs(2));
    }
}
