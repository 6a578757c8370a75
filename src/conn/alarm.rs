//! A timer that costs next to nothing while it is not due.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// A [`Sleep`] that is asked only when it has fired, or has to know of another waker.
#[derive(Debug)]
pub(crate) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// Whom it wakes.
    waker: Option<Waker>,
}

impl Alarm {
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
        let polled = self.sleep.as_mut().poll(cx);
        self.waker = polled.is_pending().then(|| cx.waker().clone());
        polled
    }
}
