//! Publishing through a [`futures::Sink`].

use std::{
    collections::VecDeque,
    error::Error,
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context as TaskContext, Poll, ready},
};

use actix::Addr;
use futures::Sink;

use super::publisher::Publisher;
use crate::{
    error::PublishError,
    producer::{AnyPublish, PendingResult, Producer, Submissions},
};

/// A [`Sink`] of publishes, with which one task can have many of them without a result. From
/// [`ProducerHandle::sink`](crate::ProducerHandle::sink).
///
/// An item is a [`Publish`](crate::Publish), [`MultiPublish`](crate::MultiPublish),
/// [`DeferredPublish`](crate::DeferredPublish) or [`AnyPublish`]. It is published at once. Counted
/// from the oldest publish without a result, at most `limit` can be in the sink; then it waits.
/// Flushing waits until all have a result; closing does the same, and the producer goes on.
///
/// ```no_run
/// use actix_nsq::{ProducerHandle, Publish};
/// use futures::{StreamExt, stream};
///
/// # async fn example(nsq: ProducerHandle) -> Result<(), Box<dyn std::error::Error>> {
/// let numbers = stream::iter(0..10_000);
/// let publishes = numbers.map(|number| Ok(Publish::new("numbers", number.to_string())));
/// // Returns when nsqd has stored all, or with the first failure.
/// publishes.forward(nsq.sink(1_000)).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Each publish that fails is reported once, in the order of the items: [`SinkError`] contains it.
/// A failure affects no other publish, and the sink can still be used. If `feed` or `send` returns
/// an error, an earlier publish has failed, and the new item is published all the same. Flush until
/// the result is `Ok` to get all failures.
///
/// # Cancel safety
///
/// If `feed` or `send` is dropped while the sink waits, the item may not be published. A dropped
/// `flush` changes nothing. If the sink itself is dropped, publishes that are not in flight are
/// never sent, and the results of those in flight are discarded.
#[must_use = "a sink publishes what is sent to it"]
pub struct PublishSink<M, A: Publisher = Producer> {
    producer: Addr<A>,
    submissions: Submissions,
    /// Maximum number of publishes without a result.
    limit: usize,
    /// Those without a known result, in order.
    pending: VecDeque<(AnyPublish, PendingResult)>,
    /// Failures that are to be reported.
    failures: VecDeque<SinkError>,
    item: PhantomData<fn(M)>,
}

impl<M, A: Publisher> PublishSink<M, A> {
    pub(super) fn new(producer: Addr<A>, submissions: Submissions, limit: usize) -> Self {
        Self {
            producer,
            submissions,
            limit: limit.max(1),
            pending: VecDeque::new(),
            failures: VecDeque::new(),
            item: PhantomData,
        }
    }

    /// Waits until at most `left` publishes have no known result.
    fn poll_pending(&mut self, left: usize, cx: &mut TaskContext<'_>) -> Poll<()> {
        while self.pending.len() > left
            && let Some((_, oldest)) = self.pending.front_mut()
        {
            let result = ready!(Pin::new(oldest).poll(cx));
            if let Some((publish, answered)) = self.pending.pop_front() {
                self.submissions.reuse(answered);
                let failure = result.err().map(|error| SinkError { publish, error });
                self.failures.extend(failure);
            }
        }
        Poll::Ready(())
    }

    /// Reports the next failure.
    fn next_failure(&mut self) -> Result<(), SinkError> {
        self.failures.pop_front().map_or(Ok(()), Err)
    }
}

impl<M: Into<AnyPublish>, A: Publisher> Sink<M> for PublishSink<M, A> {
    type Error = SinkError;

    /// It reports no failure: `feed` and `send` would drop their item.
    fn poll_ready(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        let sink = self.get_mut();
        let left = sink.limit - 1;
        sink.poll_pending(left, cx).map(Ok)
    }

    fn start_send(self: Pin<&mut Self>, item: M) -> Result<(), Self::Error> {
        let sink = self.get_mut();
        let publish = item.into();
        let request = publish.clone().into_request();
        let result = sink.submissions.submit(request, &sink.producer);
        sink.pending.push_back((publish, result));
        sink.next_failure()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        let sink = self.get_mut();
        if sink.failures.is_empty() {
            ready!(sink.poll_pending(0, cx));
        }
        Poll::Ready(sink.next_failure())
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        Sink::<M>::poll_flush(self, cx)
    }
}

impl<M, A: Publisher> fmt::Debug for PublishSink<M, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishSink")
            .field("limit", &self.limit)
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

/// A publish of a [`PublishSink`] that failed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SinkError {
    /// The message; it can be published again.
    pub publish: AnyPublish,
    /// Why it failed, and whether nsqd may have stored it.
    pub error: PublishError,
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for SinkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
