//! The way of answers from handlers, on any thread, to the consumer.

use std::{
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Duration,
};

use super::{in_flight::Ticket, requeue::Requeue};
use crate::protocol::{Channel, Topic};

/// What a handler has decided about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Finish,
    Requeue(Requeue),
    /// No handler has had the message: it is requeued at once, and not as a failure.
    Return,
    /// The message was dropped without an answer: it is requeued as a failure.
    Dropped,
    /// The handler exceeded `handler_timeout`: it is requeued as a failure.
    TimedOut,
    Touch,
}

/// Answers that wait for the consumer. A handler pushes; the first answer in each poll of the
/// consumer wakes it.
pub(crate) struct AnswerQueue(Mutex<Pushed>);

#[derive(Default)]
struct Pushed {
    answers: Vec<(Ticket, Answer)>,
    waker: Option<Waker>,
    /// The consumer has been woken since it last looked.
    is_woken: bool,
    /// The consumer has ended.
    is_closed: bool,
}

impl AnswerQueue {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Nothing that is done under the lock panics.
    fn lock(&self) -> MutexGuard<'_, Pushed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an answer. Returns whether the consumer still exists.
    pub(super) fn push(&self, ticket: Ticket, answer: Answer) -> bool {
        let is_first = {
            let mut pushed = self.lock();
            if pushed.is_closed {
                return false;
            }
            pushed.answers.push((ticket, answer));
            !mem::replace(&mut pushed.is_woken, true)
        };
        if is_first {
            self.wake();
        }
        true
    }

    /// Wakes the consumer, without the lock.
    #[cold]
    #[inline(never)]
    fn wake(&self) {
        let waker = self.lock().waker.clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns all answers so far, for tests without a consumer.
    pub(crate) fn all(&self) -> Vec<Answer> {
        let pushed = self.lock();
        pushed.answers.iter().map(|(_, answer)| *answer).collect()
    }

    /// Swaps the answers for an empty list, whose memory is used next.
    pub(super) fn swap(&self, answers: &mut Vec<(Ticket, Answer)>) {
        let mut pushed = self.lock();
        mem::swap(&mut pushed.answers, answers);
    }

    /// Wakes this task at the next answer, and at once if there is one already.
    pub(super) fn register(&self, waker: &Waker) {
        let mut pushed = self.lock();
        if !pushed.waker.as_ref().is_some_and(|it| it.will_wake(waker)) {
            pushed.waker = Some(waker.clone());
        }
        pushed.is_woken = !pushed.answers.is_empty();
        let has_answers = pushed.is_woken;
        drop(pushed);
        if has_answers {
            waker.wake_by_ref();
        }
    }

    /// The consumer has ended: answers are rejected.
    pub(super) fn close(&self) {
        let mut pushed = self.lock();
        pushed.is_closed = true;
        let dropped = (mem::take(&mut pushed.answers), pushed.waker.take());
        drop(pushed);
        drop(dropped);
    }
}

impl fmt::Debug for AnswerQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerQueue").finish_non_exhaustive()
    }
}

/// Where messages come from: one per connection, shared by its messages.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) address: Arc<str>,
    pub(super) topic: Topic,
    pub(super) channel: Channel,
    pub(super) answers: Arc<AnswerQueue>,
    /// Time from receipt, or from a touch, to the deadline.
    pub(super) timeout: Duration,
    /// Time from receipt after which touching has no effect.
    pub(super) max_timeout: Duration,
    /// Nanoseconds from receipt to the deadline of a message: with `auto_touch` to the one that
    /// the consumer extends it to.
    pub(super) first_timeout: u64,
    is_lost: AtomicBool,
}

impl Source {
    pub(super) fn new(
        address: Arc<str>,
        topic: Topic,
        channel: Channel,
        answers: Arc<AnswerQueue>,
        (timeout, max_timeout): (Duration, Duration),
        auto_touch: bool,
    ) -> Self {
        Self {
            address,
            topic,
            channel,
            answers,
            timeout,
            max_timeout,
            first_timeout: nanoseconds(if auto_touch { max_timeout } else { timeout }),
            is_lost: AtomicBool::new(false),
        }
    }

    /// The connection has ended.
    pub(super) fn set_lost(&self) {
        self.is_lost.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}
