//! What the transaction queue promises: a file of promises for each theme, and a model that plays random schedules.
//!
//! Here is the bench that they share: callers that note what they are told, and a queue with a connection to talk to.

mod answers;
mod bounds;
mod counts;
mod folding;
mod line;
mod pace;
mod pings;
mod refused_folds;
mod resending;
mod speed;
mod turns;

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
    error::{ConnectionError, ErrorKind},
    producer::payload::Payload,
    protocol::{Outbox, Topic},
};

/// What a caller was told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Ok,
    Failed(ErrorKind, Delivery),
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("Ok"),
            Self::Failed(kind, delivery) => write!(f, "{kind:?} {delivery:?}"),
        }
    }
}

/// What all callers were told, in order, and their latest error.
#[derive(Default)]
struct Book {
    told: RefCell<Vec<(usize, Said)>>,
    latest: RefCell<Option<PublishError>>,
}

struct Caller {
    id: usize,
    gone: Rc<Cell<bool>>,
    book: Rc<Book>,
}

impl Reply for Caller {
    fn is_closed(&self) -> bool {
        self.gone.get()
    }

    fn answer(self, answer: Result<(), PublishError>) {
        let said = match answer {
            Ok(()) => Said::Ok,
            Err(error) => {
                let said = Said::Failed(error.kind(), error.delivery());
                *self.book.latest.borrow_mut() = Some(error);
                said
            }
        };
        self.book.told.borrow_mut().push((self.id, said));
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Limits that nothing meets.
const WIDE: Limits = Limits {
    pending: Usage {
        publishes: 1000,
        bytes: 1 << 20,
    },
    window: Usage {
        publishes: 100,
        bytes: 1 << 16,
    },
    batch: None,
    retry_maybe_written: false,
};

/// The same with automatic batching as it is by default.
const FOLDING: Limits = Limits {
    batch: Some(Batch {
        messages: 256,
        bytes: 900_000,
    }),
    ..WIDE
};

/// A queue, its callers by number, and one connection at a time. Publishes are numbered from 1; their bodies begin with
/// their number in decimal.
struct Bench {
    queue: Option<TransactionQueue<Caller>>,
    out: Outbox,
    /// All that was handed over on this connection.
    handed: u64,
    book: Rc<Book>,
    callers: Vec<Rc<Cell<bool>>>,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self::with(WIDE)
    }

    fn with(limits: Limits) -> Self {
        Self {
            queue: Some(TransactionQueue::new(limits)),
            out: Outbox::new(),
            handed: 0,
            book: Rc::default(),
            callers: Vec::new(),
            now: Instant::now(),
        }
    }

    /// With automatic batching, and limits that nothing meets.
    fn folding() -> Self {
        Self::with(FOLDING)
    }

    /// With automatic batches of so many messages and so many bytes.
    fn folding_within(messages: usize, bytes: usize) -> Self {
        Self::with(Limits {
            batch: Some(Batch { messages, bytes }),
            ..WIDE
        })
    }

    /// For at-least-once.
    fn retrying() -> Self {
        Self::with(Limits {
            retry_maybe_written: true,
            ..WIDE
        })
    }

    fn queue(&mut self) -> &mut TransactionQueue<Caller> {
        self.queue.as_mut().unwrap()
    }

    fn push(&mut self, topic: &str, payload: Payload, timeout: Duration) -> usize {
        let caller = self.caller();
        let transaction = Transaction {
            topic: Topic::new(topic).unwrap(),
            payload,
            timeout,
        };
        let now = self.now;
        self.queue()
            .push(transaction, WhenFull::Reject, now, caller);
        self.callers.len()
    }

    fn caller(&mut self) -> Caller {
        let gone = Rc::new(Cell::new(false));
        self.callers.push(Rc::clone(&gone));
        Caller {
            id: self.callers.len(),
            gone,
            book: Rc::clone(&self.book),
        }
    }

    /// The body of the next publish: its number, and dots up to `size`.
    fn body(&self, size: usize) -> Bytes {
        let mut body = (self.callers.len() + 1).to_string();
        body.extend(std::iter::repeat_n('.', size.saturating_sub(body.len())));
        body.into()
    }

    fn publish(&mut self, topic: &str) -> usize {
        self.publish_sized(topic, 1)
    }

    fn publish_sized(&mut self, topic: &str, size: usize) -> usize {
        let body = self.body(size);
        self.push(topic, Payload::Publish(body), 30 * SECOND)
    }

    fn publish_within(&mut self, topic: &str, timeout: Duration) -> usize {
        let body = self.body(1);
        self.push(topic, Payload::Publish(body), timeout)
    }

    /// One for each letter, to the topic of that name.
    fn publish_all(&mut self, topics: &str) {
        for topic in topics.split("").filter(|topic| !topic.is_empty()) {
            self.publish(topic);
        }
    }

    fn defer(&mut self, topic: &str, delay_ms: u64) -> usize {
        let body = self.body(1);
        self.push(topic, Payload::Deferred { body, delay_ms }, 30 * SECOND)
    }

    /// A batch of two messages of `size` bytes each.
    fn batch(&mut self, topic: &str, size: usize) -> usize {
        let bodies = vec![self.body(size), self.body(size)];
        self.push(topic, Payload::Batch(bodies), 30 * SECOND)
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

    /// Hands over all that may be, and shows it as nsqd would read it: `["PUB a 1", ...]`.
    fn hand_over(&mut self) -> Vec<String> {
        let queue = self.queue.as_mut().unwrap();
        while queue.next_command(b"{}", &mut self.out, self.now) {}
        self.handed = self.out.total();
        nsqd::transcript(&self.out.take().concat())
    }

    /// nsqd's `OK`, where the socket has taken everything.
    fn ok(&mut self) {
        let handed = self.handed;
        self.take_ok(handed).unwrap();
    }

    /// nsqd's `OK`, where the socket has taken so much.
    fn take_ok(&mut self, taken: u64) -> Result<(), &'static str> {
        let now = self.now;
        self.queue().on_ok(taken, now)
    }

    /// nsqd's error frame, and the end of the connection by it.
    fn refuse(&mut self, text: &str) -> DisconnectOutcome {
        self.queue().on_error(&refusal(text)).unwrap();
        self.out = Outbox::new();
        self.queue().on_disconnected(ConnectionEnd::Rejected)
    }

    /// The end of the connection without an error frame, where the socket took so many bytes.
    fn lose(&mut self, taken: u64) -> DisconnectOutcome {
        let cause = Cause::ConnectionLost(ConnectionError::ClosedByPeer);
        let cause = &cause;
        self.out = Outbox::new();
        self.queue().on_disconnected(ConnectionEnd::Lost {
            written: taken,
            cause,
        })
    }

    /// Some time passes, and dead-lines are looked at.
    fn wait(&mut self, time: Duration) {
        self.now += time;
        let now = self.now;
        self.queue()
            .expire(now, Some(&ConnectionError::ClosedByPeer));
    }

    /// What was answered since the last look: `["1 Ok", "2 Timeout NotWritten"]`.
    fn told(&mut self) -> Vec<String> {
        let told = self.book.told.take();
        told.iter()
            .map(|(id, said)| format!("{id} {said:?}"))
            .collect()
    }

    /// The text of the latest error.
    fn latest(&self) -> String {
        self.book.latest.borrow().as_ref().unwrap().to_string()
    }

    fn held(&self) -> (usize, usize) {
        let held = self.queue.as_ref().unwrap().accounting.held;
        (held.publishes, held.bytes)
    }
}

fn refusal(text: &str) -> ServerError {
    ServerError::parse(text.as_bytes())
}

/// So many bytes a PUB takes, with a topic of one letter.
const fn pub_size(body: u64) -> u64 {
    "PUB a\n".len() as u64 + 4 + body
}
