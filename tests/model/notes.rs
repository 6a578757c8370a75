//! An actor that records the messages it receives.

use std::{cell::RefCell, fmt, rc::Rc};

use actix::{Actor, Context, Handler, Message, Recipient};
use actix_nsq::{ConnectionEvent, ProducerEvent};

use super::network::Network;

/// The messages that a recorder received.
pub(crate) struct Notes<M>(Rc<RefCell<Vec<M>>>);

impl<M> fmt::Debug for Notes<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notes").finish_non_exhaustive()
    }
}

impl<M: Message<Result = ()> + Send + Unpin + 'static> Notes<M> {
    /// Starts a recorder, which runs while its recipient is held.
    pub(crate) fn by_a_recorder(network: &Network) -> (Recipient<M>, Self) {
        let notes = Rc::default();
        let recorder = Recorder {
            notes: Rc::clone(&notes),
            network: network.clone(),
        };
        (recorder.start().recipient(), Self(notes))
    }
}

impl<M> Notes<M> {
    pub(crate) fn take(&self) -> Vec<M> {
        self.0.take()
    }

    /// Whether the recorder has stopped, because nothing holds its address.
    pub(crate) fn is_over(&self) -> bool {
        Rc::strong_count(&self.0) == 1
    }
}

/// An event of either kind, in the order of arrival.
#[derive(Debug)]
pub(crate) enum Event {
    Connection(ConnectionEvent),
    Producer(ProducerEvent),
}

impl Notes<Event> {
    /// The notes of a new recorder of both kinds of events.
    pub(crate) fn of_events(
        network: &Network,
    ) -> (Recipient<ConnectionEvent>, Recipient<ProducerEvent>, Self) {
        let notes = Rc::default();
        let recorder = Recorder {
            notes: Rc::clone(&notes),
            network: network.clone(),
        };
        let recorder = recorder.start();
        (
            recorder.clone().recipient(),
            recorder.recipient(),
            Self(notes),
        )
    }
}

impl Handler<ConnectionEvent> for Recorder<Event> {
    type Result = ();

    fn handle(&mut self, event: ConnectionEvent, _: &mut Context<Self>) {
        self.note(Event::Connection(event));
    }
}

impl Handler<ProducerEvent> for Recorder<Event> {
    type Result = ();

    fn handle(&mut self, event: ProducerEvent, _: &mut Context<Self>) {
        self.note(Event::Producer(event));
    }
}

struct Recorder<M> {
    notes: Rc<RefCell<Vec<M>>>,
    /// Notified of each message.
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

    fn handle(&mut self, message: M, _: &mut Context<Self>) {
        self.note(message);
    }
}

impl<M> Recorder<M> {
    fn note(&mut self, message: M) {
        self.notes.borrow_mut().push(message);
        self.network.lock().something_happened();
    }
}
