//! An actor that notes what it is told, and when.

use std::{any::Any, cell::RefCell, fmt, rc::Rc, time::Duration};

use actix::{Actor, Context, Handler, Message, Recipient};
use tokio::time::Instant;

type Notes<M> = Rc<RefCell<Vec<(Duration, M)>>>;

type Held = Rc<RefCell<Option<Box<dyn Any>>>>;

/// What a recorder was told since the last look.
pub(crate) struct Seen<M> {
    notes: Notes<M>,
    held: Held,
}

impl<M> fmt::Debug for Seen<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").finish_non_exhaustive()
    }
}

impl<M: Message<Result = ()> + Send + Unpin + 'static> Seen<M> {
    /// A new recorder, which lives as long as somebody holds the recipient.
    pub(crate) fn by_a_recorder() -> (Recipient<M>, Self) {
        Self::by_one_who_holds(())
    }

    /// A recorder that holds something, for instance an address.
    pub(crate) fn by_one_who_holds(held: impl Any) -> (Recipient<M>, Self) {
        let notes = Notes::default();
        let held: Held = Rc::new(RefCell::new(Some(Box::new(held))));
        let recorder = Recorder {
            began: Instant::now(),
            notes: Rc::clone(&notes),
            _held: Rc::clone(&held),
        };
        (recorder.start().recipient(), Self { notes, held })
    }

    /// Drops what the recorder holds.
    pub(crate) fn let_go(&self) {
        drop(self.held.take());
    }

    /// Each with the time since the recorder began.
    pub(crate) fn take_timed(&self) -> Vec<(Duration, M)> {
        self.notes.take()
    }

    pub(crate) fn take(&self) -> Vec<M> {
        let told = self.take_timed().into_iter();
        told.map(|(_, told)| told).collect()
    }
}

struct Recorder<M> {
    began: Instant,
    notes: Notes<M>,
    _held: Held,
}

impl<M: Unpin + 'static> Actor for Recorder<M> {
    type Context = Context<Self>;
}

impl<M: Message<Result = ()> + Unpin + 'static> Handler<M> for Recorder<M> {
    type Result = ();

    fn handle(&mut self, told: M, _: &mut Context<Self>) {
        self.notes.borrow_mut().push((self.began.elapsed(), told));
    }
}
