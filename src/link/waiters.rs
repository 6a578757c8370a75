//! Messages about a connection that any owner handles: wait until it is up, replace it.

use std::{
    cell::RefCell,
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

/// The callers that wait for a connection, in the order of their requests.
#[derive(Clone, Default)]
pub(crate) struct Waiters(Rc<RefCell<Vec<Waiter>>>);

struct Waiter {
    timeout: Duration,
    deadline: Instant,
    /// `None` if the message was sent by `do_send`.
    sender: Option<OneshotSender<Result<(), WaitError>>>,
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
        self.0.borrow().is_empty()
    }

    /// The earliest deadline.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.borrow().iter().map(|waiter| waiter.deadline).min()
    }

    /// Adds a waiter, whose sender arrives with the reply.
    pub(crate) fn add(
        &self,
        WaitConnected { timeout }: WaitConnected,
        now: Instant,
    ) -> DeferredReply<Result<(), WaitError>> {
        let waiters = Rc::clone(&self.0);
        DeferredReply::later(move |sender| {
            waiters.borrow_mut().push(Waiter {
                timeout,
                deadline: deadline_after(now, timeout),
                sender,
            });
        })
    }

    /// Answers the waiters that have nothing more to wait for.
    pub(crate) fn answer(&self, connectivity: &Connectivity<'_>, now: Instant) {
        self.0.borrow_mut().retain_mut(|waiter| {
            let answer = match *connectivity {
                Connectivity::Connected => Ok(()),
                Connectivity::Drained => Err(WaitError::Drained),
                Connectivity::Pending(last) if waiter.deadline <= now => Err(WaitError::Timeout {
                    after: waiter.timeout,
                    last: last.cloned(),
                }),
                Connectivity::Pending(_) => {
                    return waiter
                        .sender
                        .as_ref()
                        .is_some_and(|sender| !sender.is_closed());
                }
            };
            if let Some(sender) = waiter.sender.take() {
                // Fails if the caller has dropped its request.
                let _ = sender.send(answer);
            }
            false
        });
    }
}

impl fmt::Debug for Waiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiters").finish_non_exhaustive()
    }
}
