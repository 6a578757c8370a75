//! The way of a handle's publishes to the producer: a list that callers fill on any thread, and
//! that the producer empties.
//!
//! A mailbox takes three allocations for each publish. Here the first publish of an empty list
//! sends one message, and with it the producer accepts all that have come meanwhile. What receives
//! their results, their slots, is used again.

use std::{
    collections::VecDeque,
    fmt, mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context as TaskContext, Poll, ready},
};

use actix::{Actor, Addr, Context, Handler, Message};
use futures::task::AtomicWaker;

use super::{message::PublishRequest, queue::Reply};
use crate::error::{Cause, Delivery, PublishError};

/// Maximum number of slots, and of entries of an empty list, that are kept for later publishes:
/// some hundred kilobytes, and more than most programs have callers.
const SPARE: usize = 4_096;

/// Minimum length of the list at which it is searched for cancelled publishes: a running producer
/// empties it before.
const SEARCH_FROM: usize = 1_024;

/// Handle to producer: publishes were submitted.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Submitted;

/// A publish that the producer has not received yet.
pub(crate) struct Submission {
    pub(crate) request: PublishRequest,
    pub(crate) reply: SlotReply,
}

/// The callers' side of the list.
#[derive(Clone, Default)]
pub(crate) struct Submissions(Arc<Mutex<List>>);

#[derive(Default)]
struct List {
    submitted: VecDeque<Submission>,
    /// The length at which cancelled publishes are searched for again.
    search_at: usize,
    /// Slots that are not in use.
    spare: Vec<Arc<Slot>>,
    /// The producer has ended.
    is_closed: bool,
}

impl Submissions {
    /// Nothing that is done under the lock panics.
    fn lock(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a publish. Cancelled ones before it are removed if there are many, so that the list
    /// grows with the number of callers that wait, and not with that of their attempts.
    pub(crate) fn submit<A>(&self, request: PublishRequest, producer: &Addr<A>) -> PendingResult
    where
        A: Actor<Context = Context<A>> + Handler<Submitted>,
    {
        let mut list = self.lock();
        let slot = list.spare.pop().unwrap_or_default();
        let reply = SlotReply(Some(Arc::clone(&slot)));
        let submission = Submission { request, reply };
        if list.is_closed {
            // Dropped without the lock, which answers it.
            drop(list);
            drop(submission);
        } else {
            let is_first = list.submitted.is_empty();
            let cancelled = list.push(submission);
            drop(list);
            drop(cancelled);
            if is_first {
                producer.do_send(Submitted);
            }
        }
        PendingResult(Some(slot))
    }

    /// Lets the producer take all publishes before it handles messages that are sent from now on.
    pub(crate) fn announce<A>(&self, producer: &Addr<A>)
    where
        A: Actor<Context = Context<A>> + Handler<Submitted>,
    {
        if !self.lock().submitted.is_empty() {
            producer.do_send(Submitted);
        }
    }

    /// Keeps the slot of a publish whose result was received.
    pub(crate) fn reuse(&self, mut received: PendingResult) {
        if let Some(slot) = received.0.take() {
            slot.state.store(PENDING, Ordering::Relaxed);
            let mut list = self.lock();
            if list.spare.len() < SPARE {
                list.spare.push(slot);
            }
        }
    }
}

impl fmt::Debug for Submissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submissions").finish_non_exhaustive()
    }
}

impl List {
    /// Adds a publish; returns the cancelled ones that were removed.
    fn push(&mut self, submission: Submission) -> VecDeque<Submission> {
        let mut cancelled = VecDeque::new();
        if self.submitted.len() >= self.search_at.max(SEARCH_FROM) {
            let submitted = mem::take(&mut self.submitted).into_iter();
            (cancelled, self.submitted) = submitted.partition(|it| it.reply.is_closed());
            self.search_at = 2 * self.submitted.len();
        }
        self.submitted.push_back(submission);
        cancelled
    }
}

/// The producer's side of the list. Dropped, it answers what is left, and closes the list.
#[derive(Default)]
pub(crate) struct SubmissionList {
    submissions: Submissions,
    /// Publishes that were taken from the list and are not accepted yet, in order.
    pub(super) taken: VecDeque<Submission>,
}

impl SubmissionList {
    /// The callers' side.
    pub(crate) fn submissions(&self) -> Submissions {
        self.submissions.clone()
    }

    /// Takes all publishes, in the order in which they were submitted.
    pub(super) fn take(&mut self) {
        let mut list = self.submissions.lock();
        list.search_at = 0;
        if self.taken.is_empty() {
            mem::swap(&mut list.submitted, &mut self.taken);
        } else {
            self.taken.append(&mut list.submitted);
        }
    }

    /// Frees the memory that a flood of publishes has left.
    pub(super) fn shrink(&mut self) {
        if self.taken.capacity() > SPARE {
            self.taken = VecDeque::new();
        }
    }
}

impl Drop for SubmissionList {
    fn drop(&mut self) {
        let mut list = self.submissions.lock();
        list.is_closed = true;
        let left = (mem::take(&mut list.submitted), mem::take(&mut list.spare));
        drop(list);
        drop(left);
    }
}

/// States of a [`Slot`].
const PENDING: u8 = 0;
const OK: u8 = 1;
const FAILED: u8 = 2;
const CANCELLED: u8 = 3;

/// Where the result of a publish is passed from the producer to the caller.
#[derive(Default)]
struct Slot {
    state: AtomicU8,
    waker: AtomicWaker,
    /// Present if it has failed.
    error: Mutex<Option<PublishError>>,
}

impl Slot {
    fn error(&self) -> MutexGuard<'_, Option<PublishError>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The producer's side of a slot. Dropped without an answer, it answers that the producer has
/// ended.
pub(crate) struct SlotReply(Option<Arc<Slot>>);

impl SlotReply {
    fn set(&mut self, result: Result<(), PublishError>) {
        let Some(slot) = self.0.take() else { return };
        let state = match result {
            Ok(()) => OK,
            Err(error) => {
                *slot.error() = Some(error);
                FAILED
            }
        };
        slot.state.store(state, Ordering::Release);
        slot.waker.wake();
    }
}

impl Reply for SlotReply {
    fn is_closed(&self) -> bool {
        let slot = self.0.as_ref();
        slot.is_none_or(|slot| slot.state.load(Ordering::Relaxed) == CANCELLED)
    }

    fn answer(mut self, answer: Result<(), PublishError>) {
        self.set(answer);
    }
}

impl Drop for SlotReply {
    fn drop(&mut self) {
        // Nothing that the producer has received is dropped without an answer.
        if self.0.is_some() {
            self.set(Err(PublishError::new(Cause::Closed, Delivery::NotWritten)));
        }
    }
}

/// The caller's side of a slot: the result of a publish. Dropped before it is ready, it cancels the
/// publish.
pub(crate) struct PendingResult(Option<Arc<Slot>>);

impl PendingResult {
    /// Returns the result, if it is there.
    fn result(slot: &Slot) -> Poll<Result<(), PublishError>> {
        match slot.state.load(Ordering::Acquire) {
            OK => Poll::Ready(Ok(())),
            FAILED => {
                let error = slot.error().take();
                error.map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
            }
            _ => Poll::Pending,
        }
    }
}

impl Future for PendingResult {
    type Output = Result<(), PublishError>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let Some(slot) = &self.0 else {
            return Poll::Pending;
        };
        if let Poll::Ready(result) = Self::result(slot) {
            return Poll::Ready(result);
        }
        slot.waker.register(cx.waker());
        // It may have become ready meanwhile.
        Poll::Ready(ready!(Self::result(slot)))
    }
}

impl Drop for PendingResult {
    fn drop(&mut self) {
        if let Some(slot) = &self.0 {
            let (from, to) = (PENDING, CANCELLED);
            let _ = slot
                .state
                .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use actix::System;
    use futures::FutureExt;

    use super::*;
    use crate::producer::Publish;

    /// Counts announcements, and never takes anything.
    #[derive(Default)]
    struct Announced(usize);

    impl Actor for Announced {
        type Context = Context<Self>;
    }

    impl Handler<Submitted> for Announced {
        type Result = ();

        fn handle(&mut self, _: Submitted, _: &mut Context<Self>) {
            self.0 += 1;
        }
    }

    #[derive(Message)]
    #[rtype(result = "usize")]
    struct Count;

    impl Handler<Count> for Announced {
        type Result = usize;

        fn handle(&mut self, _: Count, _: &mut Context<Self>) -> usize {
            self.0
        }
    }

    fn request() -> PublishRequest {
        Publish::new("t", "body").0
    }

    #[test]
    fn list_grows_with_its_callers_and_not_with_their_attempts() {
        System::new().block_on(async {
            let (list, address) = (SubmissionList::default(), Announced::default().start());
            let submissions = list.submissions();
            let submit = |_| submissions.submit(request(), &address);
            let callers: Vec<_> = (0..SEARCH_FROM).map(submit).collect();
            for attempt in 0..100_000 {
                drop(submit(attempt));
            }
            let kept = submissions.lock().submitted.len();
            assert!(
                (callers.len()..=2 * callers.len() + 1).contains(&kept),
                "{kept}"
            );
        });
    }

    /// Another thread may have submitted first, and not sent the message yet.
    #[test]
    fn list_is_announced_again_only_while_it_has_publishes() {
        System::new().block_on(async {
            let (mut list, address) = (SubmissionList::default(), Announced::default().start());
            let submissions = list.submissions();
            submissions.announce(&address);
            let _first = submissions.submit(request(), &address);
            let _second = submissions.submit(request(), &address);
            assert_eq!(address.send(Count).await.unwrap(), 1);
            submissions.announce(&address);
            assert_eq!(address.send(Count).await.unwrap(), 2);
            list.take();
            submissions.announce(&address);
            assert_eq!(address.send(Count).await.unwrap(), 2);
        });
    }

    #[test]
    fn slot_is_used_again_after_its_result_was_received() {
        System::new().block_on(async {
            let (mut list, address) = (SubmissionList::default(), Announced::default().start());
            let submissions = list.submissions();
            for _ in 0..3 {
                let mut pending = submissions.submit(request(), &address);
                assert!((&mut pending).now_or_never().is_none());
                list.take();
                for submission in list.taken.drain(..) {
                    submission.reply.answer(Ok(()));
                }
                (&mut pending).await.unwrap();
                submissions.reuse(pending);
                assert_eq!(submissions.lock().spare.len(), 1);
            }
            drop(list);
            let late = submissions.submit(request(), &address).await;
            assert_eq!(late.unwrap_err().kind(), crate::ErrorKind::Closed);
        });
    }
}
