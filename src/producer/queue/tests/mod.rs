//! Tests of the transaction queue by feature, and a model that plays random schedules.
//!
//! [`Bench`] is what they share: a queue, its callers and one connection.

mod backpressure;
mod batching;
mod budget;
mod counters;
mod expiry;
mod moving;
mod ping;
mod rejection;
mod requeue;
mod responses;
mod speed;
mod throughput;
mod turns;
mod window;

mod model;
mod nsqd;

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;

use super::*;
use crate::{
    error::{ConnectionError, Delivery, ErrorKind, PublishError},
    producer::payload::Payload,
    protocol::{Outbox, Topic},
};

impl<R: Reply> TransactionQueue<R> {
    /// A queue that shares its capacity with no other.
    fn alone(limits: Limits) -> Self {
        Self::new(limits, Rc::new(Capacity::new(&limits)))
    }

    /// Returns the most publishes that one poll has visited.
    pub(crate) fn most_visited(&self) -> usize {
        self.budget.most
    }
}

/// The answer to a publish or ping.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    Failed(ErrorKind, Delivery),
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("Ok"),
            Self::Failed(kind, delivery) => write!(f, "{kind:?} {delivery:?}"),
        }
    }
}

/// All answers in order, and the latest error.
#[derive(Default)]
struct Log {
    answers: RefCell<Vec<(usize, Outcome)>>,
    latest: RefCell<Option<PublishError>>,
}

struct Caller {
    id: usize,
    cancelled: Rc<Cell<bool>>,
    log: Rc<Log>,
}

impl Reply for Caller {
    fn is_closed(&self) -> bool {
        self.cancelled.get()
    }

    fn answer(self, answer: Result<(), PublishError>) {
        let outcome = match answer {
            Ok(()) => Outcome::Ok,
            Err(error) => {
                let outcome = Outcome::Failed(error.kind(), error.delivery());
                *self.log.latest.borrow_mut() = Some(error);
                outcome
            }
        };
        self.log.answers.borrow_mut().push((self.id, outcome));
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Limits that no test reaches by accident.
const WIDE: Limits = Limits {
    pending: usage(1000, 1 << 20),
    window: usage(100, 1 << 16),
    batch: None,
    batch_time: SECOND,
    retry_maybe_written: false,
    pending_per_topic: None,
    topic_stats: None,
    budget: usize::MAX,
    is_pooled: false,
};

/// The same with automatic batching as it is by default.
const BATCHING: Limits = Limits {
    batch: Some(Batch {
        messages: 256,
        bytes: 900_000,
    }),
    ..WIDE
};

/// A queue, its callers, and one connection at a time.
///
/// Publishes are numbered from 1; the body of a publish is its number, with dots up to its size.
/// Commands are shown as nsqd reads them: `PUB a 1`, `MPUB a 1 2`; answers as `1 Ok` or
/// `1 Timeout NotWritten`.
struct Bench {
    queue: Option<TransactionQueue<Caller>>,
    out: Outbox,
    /// Bytes sent on this connection.
    sent: u64,
    log: Rc<Log>,
    callers: Vec<Rc<Cell<bool>>>,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self::with(WIDE)
    }

    fn with(limits: Limits) -> Self {
        Self {
            queue: Some(TransactionQueue::alone(limits)),
            out: Outbox::new(),
            sent: 0,
            log: Rc::default(),
            callers: Vec::new(),
            now: Instant::now(),
        }
    }

    fn batching() -> Self {
        Self::with(BATCHING)
    }

    fn batching_within(messages: usize, bytes: usize) -> Self {
        Self::with(Limits {
            batch: Some(Batch { messages, bytes }),
            ..WIDE
        })
    }

    fn retrying(limits: Limits) -> Self {
        Self::with(Limits {
            retry_maybe_written: true,
            ..limits
        })
    }

    fn queue(&mut self) -> &mut TransactionQueue<Caller> {
        self.queue.as_mut().unwrap()
    }

    fn caller(&mut self) -> Caller {
        let cancelled = Rc::new(Cell::new(false));
        self.callers.push(Rc::clone(&cancelled));
        Caller {
            id: self.callers.len(),
            cancelled,
            log: Rc::clone(&self.log),
        }
    }

    fn body(&self, size: usize) -> Bytes {
        let mut body = (self.callers.len() + 1).to_string();
        body.extend(std::iter::repeat_n('.', size.saturating_sub(body.len())));
        body.into()
    }

    fn push(
        &mut self,
        topic: &str,
        payload: Payload,
        timeout: Duration,
        when_full: WhenFull,
    ) -> usize {
        let caller = self.caller();
        let transaction = Transaction {
            topic: Topic::new(topic).unwrap(),
            payload,
            timeout,
        };
        let now = self.now;
        self.queue().push(transaction, when_full, now, caller);
        self.callers.len()
    }

    fn publish(&mut self, topic: &str) -> usize {
        self.publish_sized(topic, 1)
    }

    fn publish_sized(&mut self, topic: &str, size: usize) -> usize {
        let payload = Payload::Publish(self.body(size));
        self.push(topic, payload, 30 * SECOND, WhenFull::Reject)
    }

    fn publish_within(&mut self, topic: &str, timeout: Duration) -> usize {
        let payload = Payload::Publish(self.body(1));
        self.push(topic, payload, timeout, WhenFull::Reject)
    }

    /// One publish for each letter, to the topic of that name.
    fn publish_all(&mut self, topics: &str) {
        for topic in topics.chars() {
            self.publish(&topic.to_string());
        }
    }

    /// A publish that waits for capacity.
    fn publish_waiting(&mut self, size: usize, timeout: Duration) -> usize {
        let payload = Payload::Publish(self.body(size));
        self.push("a", payload, timeout, WhenFull::Wait)
    }

    /// A publish of this size that waits for capacity.
    fn publish_waiting_to(&mut self, topic: &str, size: usize) -> usize {
        let payload = Payload::Publish(self.body(size));
        self.push(topic, payload, 30 * SECOND, WhenFull::Wait)
    }

    fn defer(&mut self, topic: &str, delay_ms: u64) -> usize {
        let body = self.body(1);
        let payload = Payload::deferred(body, delay_ms);
        self.push(topic, payload, 30 * SECOND, WhenFull::Reject)
    }

    /// A `MultiPublish` of two messages of `size` bytes each.
    fn multi_publish(&mut self, topic: &str, size: usize) -> usize {
        let payload = Payload::batch(vec![self.body(size), self.body(size)]);
        self.push(topic, payload, 30 * SECOND, WhenFull::Reject)
    }

    /// A ping; it is numbered like a publish.
    fn ping(&mut self) -> usize {
        self.ping_within(30 * SECOND)
    }

    fn ping_within(&mut self, timeout: Duration) -> usize {
        let caller = self.caller();
        let now = self.now;
        self.queue().ping(timeout, now, caller);
        self.callers.len()
    }

    fn cancel(&self, id: usize) {
        self.callers[id - 1].set(true);
    }

    /// Sends all commands that may be sent, and returns them.
    fn send(&mut self) -> Vec<String> {
        let queue = self.queue.as_mut().unwrap();
        while queue.next_command(b"{}", &mut self.out, self.now) {}
        self.sent = self.out.total();
        nsqd::transcript(&self.out.take().concat())
    }

    /// Completes jobs, as poll after poll of the producer does.
    fn finish_jobs(&mut self) {
        while self.queue().renew_budget() {
            self.queue().work();
            self.queue().admit_waiters();
        }
    }

    #[track_caller]
    fn sends<const N: usize>(&mut self, commands: [&str; N]) {
        assert_eq!(self.send(), commands, "commands");
    }

    /// Returns the answers since the last call.
    fn take_answers(&mut self) -> Vec<String> {
        let answers = self.log.answers.take().into_iter();
        answers
            .map(|(id, outcome)| format!("{id} {outcome:?}"))
            .collect()
    }

    #[track_caller]
    fn answers<const N: usize>(&mut self, answers: [&str; N]) {
        assert_eq!(self.take_answers(), answers, "answers");
    }

    /// The same answer for all of these.
    #[track_caller]
    fn answers_each<const N: usize>(&mut self, ids: [usize; N], answer: &str) {
        let answers = ids.map(|id| format!("{id} {answer}"));
        assert_eq!(self.take_answers(), answers, "answers");
    }

    /// The text of the latest error.
    fn latest_error(&self) -> String {
        self.log.latest.borrow().as_ref().unwrap().to_string()
    }

    /// nsqd's `OK` when everything is written.
    fn ok(&mut self) {
        let sent = self.sent;
        self.ok_after(sent).unwrap();
    }

    fn oks(&mut self, count: usize) {
        (0..count).for_each(|_| self.ok());
    }

    /// nsqd's `OK` when this many bytes are written.
    fn ok_after(&mut self, written: u64) -> Result<(), &'static str> {
        let now = self.now;
        self.queue().on_ok(written, now)
    }

    /// nsqd's error response, without the end of the connection.
    fn error(&mut self, text: &str) -> Result<(), &'static str> {
        self.queue().on_error(&server_error(text))
    }

    /// nsqd's error response, and the end of the connection.
    fn reject(&mut self, text: &str) -> DisconnectOutcome {
        self.error(text).unwrap();
        self.out = Outbox::new();
        self.queue().on_disconnected(ConnectionEnd::Rejected);
        self.queue().disconnect_outcome()
    }

    /// The connection is lost after this many bytes were written.
    fn lose(&mut self, written: u64) -> DisconnectOutcome {
        let cause = Cause::ConnectionLost(ConnectionError::ClosedByPeer);
        let cause = &cause;
        self.out = Outbox::new();
        self.queue()
            .on_disconnected(ConnectionEnd::Lost { written, cause });
        self.queue().disconnect_outcome()
    }

    /// Time passes, and deadlines are checked.
    fn wait(&mut self, time: Duration) {
        self.now += time;
        let now = self.now;
        self.queue()
            .expire(now, Some(&ConnectionError::ClosedByPeer));
    }

    /// Publishes and bytes that count against `max_pending`.
    fn held(&self) -> (usize, usize) {
        let held = self.queue.as_ref().unwrap().accounting.held;
        (held.publishes, held.bytes)
    }
}

const fn usage(publishes: usize, bytes: usize) -> Usage {
    Usage { publishes, bytes }
}

fn server_error(text: &str) -> ServerError {
    ServerError::parse(text.as_bytes())
}

/// Bytes of a PUB to a topic of one letter.
const fn pub_size(body: u64) -> u64 {
    "PUB a\n".len() as u64 + 4 + body
}

/// Bytes of an MPUB to a topic of one letter, with messages of one byte.
const fn mpub_size(messages: u64) -> u64 {
    "MPUB a\n".len() as u64 + 4 + 4 + messages * 5
}
