//! An actor that records the messages it receives, with their times.

use std::{any::Any, cell::RefCell, fmt, rc::Rc, time::Duration};

use actix::{Actor, Context, Handler, Message, Recipient};
use tokio::time::Instant;

type Messages<M> = Rc<RefCell<Vec<(Duration, M)>>>;

type Held = Rc<RefCell<Option<Box<dyn Any>>>>;

/// Reads what a recording actor has received.
pub(crate) struct Recorder<M> {
    messages: Messages<M>,
    held: Held,
}

impl<M> fmt::Debug for Recorder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl<M: Message<Result = ()> + Send + Unpin + 'static> Recorder<M> {
    /// Starts an actor that stops when all copies of the recipient are dropped.
    pub(crate) fn start() -> (Recipient<M>, Self) {
        Self::start_holding(())
    }

    /// The same, and the actor owns a value, for instance an address.
    pub(crate) fn start_holding(held: impl Any) -> (Recipient<M>, Self) {
        let messages = Messages::default();
        let held: Held = Rc::new(RefCell::new(Some(Box::new(held))));
        let recording = Recording {
            began: Instant::now(),
            messages: Rc::clone(&messages),
            _held: Rc::clone(&held),
        };
        (recording.start().recipient(), Self { messages, held })
    }

    /// Drops the value that the actor owns.
    pub(crate) fn drop_held(&self) {
        drop(self.held.take());
    }

    /// The messages since the last call, each with the time since the actor started.
    pub(crate) fn take_timed(&self) -> Vec<(Duration, M)> {
        self.messages.take()
    }

    pub(crate) fn take(&self) -> Vec<M> {
        let messages = self.take_timed().into_iter();
        messages.map(|(_, message)| message).collect()
    }
}

struct Recording<M> {
    began: Instant,
    messages: Messages<M>,
    _held: Held,
}

impl<M: Unpin + 'static> Actor for Recording<M> {
    type Context = Context<Self>;
}

impl<M: Message<Result = ()> + Unpin + 'static> Handler<M> for Recording<M> {
    type Result = ();

    fn handle(&mut self, message: M, _: &mut Context<Self>) {
        let received = (self.began.elapsed(), message);
        self.messages.borrow_mut().push(received);
    }
}
