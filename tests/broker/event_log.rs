//! Records the connection events of a producer.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix_nsq::actix::{Actor, Addr, Context, Handler};
use actix_nsq::protocol::{AuthResponse, IdentifyResponse};
use actix_nsq::{ConnectionError, ConnectionEvent, Producer, ProducerEvent, SubscribeEvents};

use crate::support::wait;

/// All events since the subscription.
#[derive(Clone, Debug, Default)]
pub struct EventLog(Rc<RefCell<Events>>);

#[derive(Debug, Default)]
struct Events {
    connection: Vec<ConnectionEvent>,
    requeued: u64,
    maybe_written: u64,
}

impl Actor for EventLog {
    type Context = Context<Self>;
}

impl Handler<ConnectionEvent> for EventLog {
    type Result = ();

    fn handle(&mut self, event: ConnectionEvent, _: &mut Context<Self>) {
        self.0.borrow_mut().connection.push(event);
    }
}

impl Handler<ProducerEvent> for EventLog {
    type Result = ();

    fn handle(&mut self, event: ProducerEvent, _: &mut Context<Self>) {
        if let ProducerEvent::Settled {
            requeued,
            maybe_written,
            ..
        } = event
        {
            let mut events = self.0.borrow_mut();
            events.requeued += requeued as u64;
            events.maybe_written += maybe_written as u64;
        }
    }
}

impl EventLog {
    /// Subscribes to a producer. One that was started just before emits no event earlier.
    pub fn of(producer: &Addr<Producer>) -> Self {
        let log = Self::default();
        let actor = log.clone().start();
        let connection = actor.clone().recipient();
        producer.do_send(SubscribeEvents::<ConnectionEvent>(connection));
        producer.do_send(SubscribeEvents::<ProducerEvent>(actor.recipient()));
        log
    }

    pub fn all(&self) -> Vec<ConnectionEvent> {
        self.0.borrow().connection.clone()
    }

    fn select<T>(&self, select: impl Fn(&ConnectionEvent) -> Option<T>) -> Vec<T> {
        self.0
            .borrow()
            .connection
            .iter()
            .filter_map(select)
            .collect()
    }

    /// Number of attempts to connect.
    pub fn attempts(&self) -> usize {
        let attempts =
            self.select(|event| matches!(event, ConnectionEvent::Connecting { .. }).then_some(()));
        attempts.len()
    }

    /// What was negotiated on each connection.
    pub fn connected(&self) -> Vec<(IdentifyResponse, Option<AuthResponse>)> {
        self.select(|event| match event {
            ConnectionEvent::Connected {
                negotiated, auth, ..
            } => Some((negotiated.clone(), auth.clone())),
            _ => None,
        })
    }

    /// The delay before each further attempt.
    pub fn backoffs(&self) -> Vec<Duration> {
        self.select(|event| match event {
            ConnectionEvent::BackingOff { delay, .. } => Some(*delay),
            _ => None,
        })
    }

    /// The longest delay before a further attempt.
    pub fn longest_backoff(&self) -> Duration {
        self.backoffs().into_iter().max().unwrap_or_default()
    }

    /// Why established connections were lost.
    pub fn disconnects(&self) -> Vec<ConnectionError> {
        self.select(|event| match event {
            ConnectionEvent::Disconnected { reason, .. } => Some(reason.clone()),
            _ => None,
        })
    }

    /// Number of publishes that were requeued, and that were answered as ambiguous, when
    /// connections were lost.
    pub fn settled(&self) -> (u64, u64) {
        let events = self.0.borrow();
        (events.requeued, events.maybe_written)
    }

    pub async fn until_connected(&self, times: usize) {
        wait::until("the producer connects", || self.connected().len() >= times).await;
    }

    pub async fn until_backing_off(&self, times: usize) {
        wait::until("an attempt fails", || self.backoffs().len() >= times).await;
    }
}
