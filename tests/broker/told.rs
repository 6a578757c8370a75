//! What a producer tells of its connection, kept for a scenario to look at.

use std::cell::RefCell;
use std::rc::Rc;

use actix_nsq::actix::{Actor, Addr, Context, Handler};
use actix_nsq::protocol::{AuthResponse, IdentifyResponse};
use actix_nsq::{ConnectionError, ConnectionEvent, Producer, SubscribeEvents};

use crate::support::wait;

/// All events since the subscription.
#[derive(Clone, Debug, Default)]
pub struct Told(Rc<RefCell<Vec<ConnectionEvent>>>);

/// Notes the events of a producer.
struct Listener(Told);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<ConnectionEvent> for Listener {
    type Result = ();

    fn handle(&mut self, event: ConnectionEvent, _: &mut Context<Self>) {
        self.0.0.borrow_mut().push(event);
    }
}

impl Told {
    /// From here on. A producer that has just been started has nothing to tell before this.
    pub fn by(producer: &Addr<Producer>) -> Self {
        let told = Self::default();
        let listener = Listener(told.clone()).start();
        producer.do_send(SubscribeEvents(listener.recipient()));
        told
    }

    pub fn all(&self) -> Vec<ConnectionEvent> {
        self.0.borrow().clone()
    }

    /// What was agreed on with nsqd, each time.
    pub fn connected(&self) -> Vec<(IdentifyResponse, Option<AuthResponse>)> {
        let connected = |event| match event {
            ConnectionEvent::Connected {
                negotiated, auth, ..
            } => Some((negotiated, auth)),
            _ => None,
        };
        self.all().into_iter().filter_map(connected).collect()
    }

    /// How often it was tried to connect.
    pub fn attempts(&self) -> usize {
        let is_attempt =
            |event: &&ConnectionEvent| matches!(event, ConnectionEvent::Connecting { .. });
        self.0.borrow().iter().filter(is_attempt).count()
    }

    /// How often it waits, or has waited, before it tries again.
    pub fn backing_off(&self) -> usize {
        let is_wait =
            |event: &&ConnectionEvent| matches!(event, ConnectionEvent::BackingOff { .. });
        self.0.borrow().iter().filter(is_wait).count()
    }

    /// Why connections were lost that had been made.
    pub fn lost(&self) -> Vec<ConnectionError> {
        let lost = |event| match event {
            ConnectionEvent::Disconnected { reason, .. } => Some(reason),
            _ => None,
        };
        self.all().into_iter().filter_map(lost).collect()
    }

    /// Waits until it has connected so many times.
    pub async fn until_connected(&self, times: usize) {
        wait::until("it connects", || self.connected().len() >= times).await;
    }
}
