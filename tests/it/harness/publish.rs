//! Sends publishes and checks their results.

use std::{future::poll_fn, task::Poll, time::Duration};

use actix::{Actor, Addr, Context, Handler};
use actix_nsq::{
    ConnectionError, Delivery, ErrorKind, Producer, Publish, PublishError, Topic,
    protocol::ErrorCode,
};
use bytes::Bytes;
use futures::{FutureExt, future::LocalBoxFuture};
use tokio::time::Instant;

pub(crate) fn topic(name: &str) -> Topic {
    Topic::new(name).expect("a valid name")
}

/// The result of a message that was sent already.
pub(crate) type Answer = LocalBoxFuture<'static, Result<(), PublishError>>;

/// Sends a message to a producer or a pool at once, and returns its future result.
pub(crate) fn send<A, M, E>(producer: &Addr<A>, message: M) -> Answer
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: actix::Message<Result = Result<(), E>> + Send + 'static,
    E: Into<PublishError> + Send + 'static,
{
    let request = producer.send(message);
    Box::pin(async move { request.await?.map_err(Into::into) })
}

/// Publishes to the topic `t`, at once.
pub(crate) fn publish<A>(producer: &Addr<A>, body: impl Into<Bytes>) -> Answer
where
    A: Actor<Context = Context<A>> + Handler<Publish>,
{
    send(producer, Publish::new(topic("t"), body))
}

/// Publishes each body to the topic `t`, at once.
pub(crate) fn publish_each<A, const N: usize>(
    producer: &Addr<A>,
    bodies: [&'static str; N],
) -> [Answer; N]
where
    A: Actor<Context = Context<A>> + Handler<Publish>,
{
    bodies.map(|body| publish(producer, body))
}

/// Publishes the numbers below `count` to the topic `t`, at once. Returns the bodies, too.
pub(crate) fn publish_numbers(
    producer: &Addr<Producer>,
    count: usize,
) -> (Vec<String>, Vec<Answer>) {
    let bodies: Vec<_> = (0..count).map(|number| number.to_string()).collect();
    let answers = bodies.iter().map(|body| publish(producer, body.clone()));
    let answers = answers.collect();
    (bodies, answers)
}

/// Publishes to the topic `t`, at once, with a timeout of its own.
pub(crate) fn publish_within<A>(producer: &Addr<A>, timeout: Duration, body: &'static str) -> Answer
where
    A: Actor<Context = Context<A>> + Handler<Publish>,
{
    send(producer, Publish::new(topic("t"), body).expires_in(timeout))
}

pub(crate) fn is_pending(answer: &mut Answer) -> bool {
    answer.now_or_never().is_none()
}

/// Waits for `Ok` from each.
pub(crate) async fn all_ok(answers: impl IntoIterator<Item = Answer>) {
    for answer in answers {
        answer.await.expect("a publish that is acknowledged");
    }
}

/// Returns the error, which must have this kind and delivery.
#[track_caller]
pub(crate) fn assert_error(
    answer: Result<(), PublishError>,
    kind: ErrorKind,
    delivery: Delivery,
) -> PublishError {
    let error = answer.expect_err("an error");
    let is = (error.kind(), error.delivery());
    assert_eq!(is, (kind, delivery), "{error}");
    error
}

/// What nsqd answers to a publish that it cannot store.
pub(crate) const PUB_FAILED: &str = "E_PUB_FAILED PUB failed";

/// Waits for the error of a publish that was answered with [`PUB_FAILED`].
pub(crate) async fn rejected(answer: Answer) {
    let kind = ErrorKind::Rejected(ErrorCode::PubFailed);
    assert_error(answer.await, kind, Delivery::NotWritten);
}

/// Waits for the error of a publish that was in flight when its connection was lost.
pub(crate) async fn lost(answer: Answer) -> ConnectionError {
    let (kind, delivery) = (ErrorKind::ConnectionLost, Delivery::MaybeWritten);
    let error = assert_error(answer.await, kind, delivery);
    error.connection_error().expect("a reason").clone()
}

/// Waits for the error of a publish that was not sent in time.
pub(crate) async fn never_sent(answer: Answer) -> PublishError {
    assert_error(answer.await, ErrorKind::Timeout, Delivery::NotWritten)
}

/// Awaits a future, and returns how long that took.
pub(crate) async fn timed<T>(future: impl Future<Output = T>) -> (Duration, T) {
    let began = Instant::now();
    let outcome = future.await;
    (began.elapsed(), outcome)
}

/// Yields to the other tasks once. tokio's `yield_now` waits until all of them are idle.
pub(crate) async fn yield_once() {
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
