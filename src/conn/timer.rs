//! A timer that costs almost nothing while it is not due.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use tokio::{
    task::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

/// A [`Sleep`] that is polled only when it has fired or when the waker has changed.
#[derive(Debug)]
pub(crate) struct LazyTimer {
    sleep: Pin<Box<Sleep>>,
    /// The waker that `sleep` has stored.
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
        let is_stored = |waker: &Waker| waker.will_wake(cx.waker());
        if self.waker.as_ref().is_some_and(is_stored) && !self.has_fired() {
            return Poll::Pending;
        }
        // Without `unconstrained`, tokio returns `Pending` to a task that has used up its coop
        // budget, and does not store the waker.
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

    #[tokio::test(start_paused = true)]
    async fn timer_polled_without_coop_budget_still_fires() {
        let mut timer = LazyTimer::new(Instant::now() + Duration::from_secs(1));
        let mut polls = 0;
        let fired = poll_fn(move |cx| {
            polls += 1;
            while polls == 1 && has_budget_remaining() {
                let _ = pin!(consume_budget()).poll(cx);
            }
            timer.poll(cx)
        });
        let start = Instant::now();
        let elapsed = tokio::spawn(async move {
            let _ = timeout(Duration::from_secs(5), fired).await;
            start.elapsed()
        });
        assert!(elapsed.await.unwrap() < Duration::from_secs(2));
    }
}
