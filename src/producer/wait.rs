//! Waiting for a producer: until it is connected, until nsqd answers.

use std::{
    cell::RefCell,
    fmt,
    rc::Rc,
    time::{Duration, Instant},
};

use actix::{
    Context, Handler, Message,
    dev::{MessageResponse, OneshotSender},
};

use super::{
    Producer, ProducerState, caller::Caller, link::Link, publish::Desk, queue::deadline_after,
};
use crate::error::{Cause, Delivery, PublishError, WaitError};

/// Waits until the producer is connected, after a [`Reconnect`] by the new connection. It begins to connect if it has not.
///
/// # Errors
///
/// [`WaitError::Timeout`] with the last failure of the connection when `timeout` passes first, [`WaitError::Drained`] when
/// the producer will not connect any more.
///
/// # Cancel safety
///
/// Dropping the request ends the waiting, and nothing else.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), WaitError>")]
pub struct WaitConnected {
    /// How long to wait.
    pub timeout: Duration,
}

/// Asks nsqd for an answer, and waits for it: a frame read after the question was sent. It proves that nsqd takes commands and
/// executes them, not that a publish would succeed.
///
/// nsqd has no command for this: the producer repeats the names in its IDENTIFY, which nsqd answers `OK` and which
/// changes nothing. The question goes before publishes that wait, and behind those that are sent. nsqd may take 5 s to answer a publish of a new
/// topic while a nsqlookupd is silent, so the time-out should be longer. If the connection is lost, the next one is asked.
///
/// # Errors
///
/// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) when `timeout` passes first, [`ErrorKind::Rejected`](crate::ErrorKind::Rejected)
/// when nsqd refuses it, [`ErrorKind::Drained`](crate::ErrorKind::Drained); nothing is written to a topic in any case.
///
/// # Cancel safety
///
/// A request dropped before the question was sent takes it back; later the answer is dropped.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), PublishError>")]
pub struct Ping {
    /// How long to wait, also for a connection.
    pub timeout: Duration,
}

impl Handler<Ping> for Producer {
    type Result = PingReceipt;

    fn handle(&mut self, Ping { timeout }: Ping, ctx: &mut Context<Self>) -> PingReceipt {
        let now = self.handling(ctx);
        PingReceipt {
            desk: Rc::clone(&self.desk),
            refused: self.is_draining(),
            timeout,
            now,
        }
    }
}

/// What the handler returns for a [`Ping`]: it goes into the queue with its caller.
#[derive(Debug)]
pub struct PingReceipt {
    desk: Rc<Desk>,
    refused: bool,
    timeout: Duration,
    now: Instant,
}

impl MessageResponse<Producer, Ping> for PingReceipt {
    fn handle(
        self,
        _: &mut Context<Producer>,
        sender: Option<OneshotSender<Result<(), PublishError>>>,
    ) {
        // A ping whose answer nobody hears has no use.
        let Some(sender) = sender else { return };
        if self.refused {
            let _ = sender.send(Err(PublishError::new(Cause::Drained, Delivery::NotWritten)));
        } else {
            self.desk
                .queue
                .borrow_mut()
                .ping(self.timeout, self.now, Caller::Waiting(sender));
        }
    }
}

/// One who waits for a connection.
struct Waiter {
    timeout: Duration,
    deadline: Instant,
    /// `None` once answered.
    sender: Option<OneshotSender<Result<(), WaitError>>>,
}

impl Waiter {
    fn is_gone(&self) -> bool {
        self.sender.as_ref().is_none_or(OneshotSender::is_closed)
    }
}

/// Who waits, the longest first.
#[derive(Clone, Default)]
pub(super) struct Waiters(Rc<RefCell<Vec<Waiter>>>);

impl Waiters {
    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.0.borrow().iter().map(|waiter| waiter.deadline).min()
    }
}

impl fmt::Debug for Waiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiters").finish_non_exhaustive()
    }
}

/// What the handler returns for one who waits: a place among the others.
#[derive(Debug)]
pub struct Place {
    waiters: Waiters,
    timeout: Duration,
    deadline: Instant,
}

impl MessageResponse<Producer, WaitConnected> for Place {
    fn handle(
        self,
        _: &mut Context<Producer>,
        sender: Option<OneshotSender<Result<(), WaitError>>>,
    ) {
        let Self {
            waiters,
            timeout,
            deadline,
        } = self;
        waiters.0.borrow_mut().push(Waiter {
            timeout,
            deadline,
            sender,
        });
    }
}

impl Handler<WaitConnected> for Producer {
    type Result = Place;

    fn handle(
        &mut self,
        WaitConnected { timeout }: WaitConnected,
        ctx: &mut Context<Self>,
    ) -> Place {
        let deadline = deadline_after(self.handling(ctx), timeout);
        Place {
            waiters: self.waiters.clone(),
            timeout,
            deadline,
        }
    }
}

impl Producer {
    /// Answers those who wait for a connection when there is one, when there will be none, and when their time is over.
    pub(super) fn serve_waiters(&mut self, now: Instant) {
        if self.waiters.is_empty() {
            return;
        }
        // One that is to end is not what is waited for.
        let leaving = matches!(&self.link, Link::Up(session) if session.is_leaving());
        let connected = self.state() == ProducerState::Connected && !leaving;
        let draining = self.is_draining();
        let last = if connected { None } else { self.last.as_ref() };
        self.waiters.0.borrow_mut().retain_mut(|waiter| {
            let result = if draining {
                Err(WaitError::Drained)
            } else if connected {
                Ok(())
            } else if waiter.deadline <= now {
                Err(WaitError::Timeout {
                    after: waiter.timeout,
                    last: last.cloned(),
                })
            } else {
                return !waiter.is_gone();
            };
            if let Some(sender) = waiter.sender.take() {
                let _ = sender.send(result);
            }
            false
        });
    }
}

/// Closes the connection once what is in flight is answered, and makes a new one at once: without waiting where it waits to
/// connect. Nothing is lost by it.
///
/// For the case that nsqd's name points to another machine now, or after a change of its certificates. A connection whose
/// answers do not come is ended by `ack_timeout`. A drained producer does not connect again.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Reconnect;

impl Handler<Reconnect> for Producer {
    type Result = ();

    fn handle(&mut self, _: Reconnect, ctx: &mut Context<Self>) {
        self.handling(ctx);
        self.reconnect(ctx);
    }
}
