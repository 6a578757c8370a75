//! What callers do: publish, and look at the answer.

use std::{future::poll_fn, task::Poll, time::Duration};

use actix::{Addr, Handler};
use actix_nsq::{Delivery, ErrorKind, Producer, Publish, PublishError, Topic};
use bytes::Bytes;
use futures::{FutureExt, future::LocalBoxFuture};
use tokio::time::Instant;

pub(crate) fn topic(name: &str) -> Topic {
    Topic::new(name).expect("a good name")
}

/// The answer to a message that was sent already.
pub(crate) type Answer = LocalBoxFuture<'static, Result<(), PublishError>>;

/// Sends at once; what comes back is the answer, as `??` gives it.
pub(crate) fn send<M>(producer: &Addr<Producer>, message: M) -> Answer
where
    M: actix::Message<Result = Result<(), PublishError>> + Send + 'static,
    Producer: Handler<M>,
{
    let request = producer.send(message);
    Box::pin(async move { request.await? })
}

/// Publishes to the topic `t`, at once.
pub(crate) fn publish(producer: &Addr<Producer>, body: impl Into<Bytes>) -> Answer {
    send(producer, Publish::new(topic("t"), body))
}

/// Whether there is no answer yet.
pub(crate) fn is_waiting(answer: &mut Answer) -> bool {
    answer.now_or_never().is_none()
}

/// The failure in an answer, which must be of this kind and leave the message like this.
#[track_caller]
pub(crate) fn failure(
    answer: Result<(), PublishError>,
    kind: ErrorKind,
    delivery: Delivery,
) -> PublishError {
    let error = answer.expect_err("a failure");
    assert_eq!(
        (error.kind(), error.delivery()),
        (kind, delivery),
        "{error}"
    );
    error
}

/// What comes of a future, and how long it took.
pub(crate) async fn timed<T>(future: impl Future<Output = T>) -> (Duration, T) {
    let began = Instant::now();
    let outcome = future.await;
    (began.elapsed(), outcome)
}

/// Unlike tokio's `yield_now`, which waits until nobody else has anything to do.
pub(crate) async fn one_turn_of_the_others() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
