//! Messages about a connection that any owner handles: wait until it is up, replace it.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    rc::Rc,
    time::{Duration, Instant},
};

use actix::{Message, dev::OneshotSender};

use super::{clock::deadline_after, reply::DeferredReply};
use crate::error::{ConnectionError, WaitError};

/// Waits until the actor is connected. After a [`Reconnect`] it waits for the new connection. An
/// actor that has not begun to connect begins now.
///
/// # Errors
///
/// [`WaitError::Timeout`] with the last connection error when `timeout` passes first, and
/// [`WaitError::Drained`] when the actor will not connect any more. [`WaitError::RequestTimeout`]
/// and [`WaitError::Closed`] come from the mailbox.
///
/// # Cancel safety
///
/// Dropping the request stops the waiting and has no other effect.
///
/// ```no_run
/// use std::time::Duration;
///
/// use actix_nsq::{Producer, ProducerConfig, WaitConnected};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let producer = Producer::start(ProducerConfig::new("127.0.0.1:4150")?);
/// producer.send(WaitConnected { timeout: Duration::from_secs(10) }).await??;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), WaitError>")]
pub struct WaitConnected {
    /// Maximum time to wait.
    pub timeout: Duration,
}

impl WaitConnected {
    /// Waits for at most this time.
    pub const fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}

/// Replaces the connection: closes it once everything in flight is answered, and connects again at
/// once. If the actor is waiting to connect, it connects at once. Queued messages stay queued.
///
/// Use it when the host name resolves to another machine now, or when certificates have changed. A
/// connection on which nsqd does not respond is closed by `ack_timeout`. An attempt to connect that
/// is under way is not repeated. A drained actor does not connect again.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Reconnect;

/// The callers that wait for a connection.
#[derive(Clone, Default)]
pub(crate) struct Waiters(Rc<RefCell<List>>);

/// The waiters by deadline, so that only those are visited that are answered.
#[derive(Default)]
struct List {
    waiters: BTreeMap<(Instant, u64), Waiter>,
    /// Number of waiters added so far.
    added: u64,
    /// Number of waiters from which cancelled ones are removed before another is added.
    crowded: usize,
}

/// Minimum of `crowded`: a removal visits all waiters, so a few cancelled ones may stay.
const CROWDED: usize = 64;

struct Waiter {
    timeout: Duration,
    /// `None` if the message was sent by `do_send`.
    sender: Option<OneshotSender<Result<(), WaitError>>>,
}

impl Waiter {
    fn is_cancelled(&self) -> bool {
        self.sender.as_ref().is_none_or(OneshotSender::is_closed)
    }

    fn answer(self, answer: Result<(), WaitError>) {
        if let Some(sender) = self.sender {
            // Fails if the caller has dropped its request.
            let _ = sender.send(answer);
        }
    }
}

/// What the waiters wait for, as it is now.
pub(crate) enum Connectivity<'a> {
    Connected,
    /// The actor will not connect any more.
    Drained,
    /// Not connected yet; the last error, if there was one.
    Pending(Option<&'a ConnectionError>),
}

impl Waiters {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().waiters.is_empty()
    }

    /// The earliest deadline.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let list = self.0.borrow();
        let ((deadline, _), _) = list.waiters.first_key_value()?;
        Some(*deadline)
    }

    /// Adds a waiter, whose sender arrives with the reply.
    pub(crate) fn add(
        &self,
        WaitConnected { timeout }: WaitConnected,
        now: Instant,
    ) -> DeferredReply<Result<(), WaitError>> {
        let waiters = Rc::clone(&self.0);
        DeferredReply::later(move |sender| waiters.borrow_mut().add(timeout, now, sender))
    }

    /// Answers the waiters that have nothing more to wait for, in the order of their deadlines.
    /// Deadlines after `due` are not judged, and none without it.
    pub(crate) fn answer(&self, connectivity: &Connectivity<'_>, due: Option<Instant>) {
        let waiters = &mut self.0.borrow_mut().waiters;
        while let Some(first) = waiters.first_entry() {
            let (deadline, _) = *first.key();
            let answer = match *connectivity {
                Connectivity::Connected => Ok(()),
                Connectivity::Drained => Err(WaitError::Drained),
                Connectivity::Pending(last) if Some(deadline) <= due => Err(WaitError::Timeout {
                    after: first.get().timeout,
                    last: last.cloned(),
                }),
                Connectivity::Pending(_) if first.get().is_cancelled() => {
                    first.remove();
                    continue;
                }
                Connectivity::Pending(_) => return,
            };
            first.remove().answer(answer);
        }
    }
}

impl List {
    fn add(
        &mut self,
        timeout: Duration,
        now: Instant,
        sender: Option<OneshotSender<Result<(), WaitError>>>,
    ) {
        if self.waiters.len() >= self.crowded.max(CROWDED) {
            self.waiters.retain(|_, waiter| !waiter.is_cancelled());
            self.crowded = self.waiters.len().saturating_mul(2);
        }
        let key = (deadline_after(now, timeout), self.added);
        self.added += 1;
        self.waiters.insert(key, Waiter { timeout, sender });
    }
}

impl fmt::Debug for Waiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiters").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    const PENDING: Connectivity<'_> = Connectivity::Pending(None);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn cancelled_waiters_do_not_accumulate() {
        let (waiters, now) = (Waiters::default(), Instant::now());
        let (first, awaited) = oneshot::channel();
        waiters.0.borrow_mut().add(HOUR, now, Some(first));
        for _ in 0..10_000 {
            let (sender, _) = oneshot::channel();
            waiters.0.borrow_mut().add(2 * HOUR, now, Some(sender));
            waiters.answer(&PENDING, None);
            assert!(waiters.0.borrow().waiters.len() <= CROWDED);
        }
        drop(awaited);
        waiters.answer(&PENDING, None);
        assert!(waiters.is_empty());
    }

    /// The fastest of a few rounds.
    fn time_of_a_burst(waiting: usize) -> Duration {
        let (waiters, now) = (Waiters::default(), Instant::now());
        let mut awaited = Vec::new();
        for _ in 0..waiting {
            let (sender, receiver) = oneshot::channel();
            waiters.0.borrow_mut().add(HOUR, now, Some(sender));
            awaited.push(receiver);
        }
        let burst = || {
            let start = Instant::now();
            for _ in 0..100 {
                waiters.answer(&PENDING, None);
                assert_eq!(waiters.deadline(), Some(now + HOUR));
            }
            start.elapsed()
        };
        (0..10).map(|_| burst()).min().unwrap_or_default()
    }

    #[test]
    fn cost_of_a_burst_is_independent_of_waiters() {
        let (few, many) = (time_of_a_burst(10), time_of_a_burst(10_000));
        assert!(many < 20 * few, "{few:?}, {many:?}");
    }
}
