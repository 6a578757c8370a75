//! An actor that notes what it is told.

use std::{cell::RefCell, fmt, rc::Rc};

use actix::{Actor, Context, Handler, Message, Recipient};

use super::network::Network;

/// What a recorder was told.
pub(crate) struct Notes<M>(Rc<RefCell<Vec<M>>>);

impl<M> fmt::Debug for Notes<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notes").finish_non_exhaustive()
    }
}

impl<M: Message<Result = ()> + Send + Unpin + 'static> Notes<M> {
    /// Of a new recorder, which lives as long as somebody holds its recipient.
    pub(crate) fn by_a_recorder(network: &Network) -> (Recipient<M>, Self) {
        let notes = Rc::default();
        let recorder = Recorder {
            notes: Rc::clone(&notes),
            network: network.clone(),
        };
        (recorder.start().recipient(), Self(notes))
    }

    pub(crate) fn take(&self) -> Vec<M> {
        self.0.take()
    }

    /// Whether nobody holds the recipient any more.
    pub(crate) fn is_over(&self) -> bool {
        Rc::strong_count(&self.0) == 1
    }
}

struct Recorder<M> {
    notes: Rc<RefCell<Vec<M>>>,
    /// Where somebody waits to see what happens.
    network: Network,
}

impl<M: Unpin + 'static> Actor for Recorder<M> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(0);
    }
}

impl<M: Message<Result = ()> + Unpin + 'static> Handler<M> for Recorder<M> {
    type Result = ();

    fn handle(&mut self, told: M, _: &mut Context<Self>) {
        self.notes.borrow_mut().push(told);
        self.network.lock().something_happened();
    }
}
