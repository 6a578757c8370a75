//! Who sent a publish, and what becomes of a failure that nobody awaits.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use actix::{Context, Handler, Message, Recipient, dev::OneshotSender};
use bytes::Bytes;
use log::warn;

use super::{
    DeferredPublish, MultiPublish, Producer, Publish, payload::Payload, publish::Outgoing,
    queue::Reply,
};
use crate::{error::PublishError, protocol::Topic};

/// Who sent a publish.
pub(super) enum Caller {
    /// By `send`: somebody may be waiting.
    Waiting(OneshotSender<Result<(), PublishError>>),
    /// By `do_send` or `try_send`: nobody hears the answer. What was published is kept for whoever is told of failures.
    Nobody(Rc<Unheard>, Option<Box<AnyPublish>>),
}

impl Caller {
    pub(super) fn nobody(unheard: &Rc<Unheard>, outgoing: &Outgoing) -> Self {
        let kept = unheard
            .to
            .borrow()
            .is_some()
            .then(|| Box::new(AnyPublish::new(outgoing.clone())));
        Self::Nobody(Rc::clone(unheard), kept)
    }
}

impl Reply for Caller {
    fn is_closed(&self) -> bool {
        match self {
            Self::Waiting(sender) => sender.is_closed(),
            Self::Nobody(..) => false,
        }
    }

    fn answer(self, answer: Result<(), PublishError>) {
        match (self, answer) {
            // A caller that went away meanwhile does not want it.
            (Self::Waiting(sender), answer) => drop(sender.send(answer)),
            (Self::Nobody(..), Ok(())) => {}
            (Self::Nobody(unheard, publish), Err(error)) => unheard.failed(publish, error),
        }
    }
}

/// A publish that failed, as it was sent; it can be sent again.
#[derive(Debug, Clone)]
pub enum AnyPublish {
    /// A [`Publish`].
    Publish(Publish),
    /// A [`MultiPublish`].
    MultiPublish(MultiPublish),
    /// A [`DeferredPublish`].
    DeferredPublish(DeferredPublish),
}

impl AnyPublish {
    /// The topic.
    pub fn topic(&self) -> &Topic {
        match self {
            Self::Publish(publish) => publish.topic(),
            Self::MultiPublish(publish) => publish.topic(),
            Self::DeferredPublish(publish) => publish.topic(),
        }
    }

    /// The bodies, of which a batch has several.
    pub fn bodies(&self) -> &[Bytes] {
        match self {
            Self::Publish(publish) => publish.bodies(),
            Self::MultiPublish(publish) => publish.bodies(),
            Self::DeferredPublish(publish) => publish.bodies(),
        }
    }

    fn new(outgoing: Outgoing) -> Self {
        match &outgoing.payload {
            Payload::Publish(_) => Self::Publish(Publish(outgoing)),
            Payload::Batch(_) => Self::MultiPublish(MultiPublish(outgoing)),
            Payload::Deferred { .. } => Self::DeferredPublish(DeferredPublish(outgoing)),
        }
    }
}

/// A publish sent by `do_send` or `try_send` has failed.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct PublishFailure {
    /// What was published.
    pub publish: AnyPublish,
    /// Why it failed, and whether nsqd may have stored it.
    pub error: PublishError,
}

/// Tells every failure of a publish that comes from now on, and whose answer nobody awaits, to this recipient, in place of
/// the log, and in place of an earlier recipient. Its mailbox is not bounded by the producer.
///
/// A recipient that holds the producer's address keeps the producer alive as a user does.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SubscribeFailures(pub Recipient<PublishFailure>);

impl Handler<SubscribeFailures> for Producer {
    type Result = ();

    fn handle(&mut self, SubscribeFailures(to): SubscribeFailures, ctx: &mut Context<Self>) {
        self.handling(ctx);
        self.desk.unheard.to.replace(Some(to));
    }
}

/// Failures that nobody awaits: they are told to the one who asked for them, or else counted, and logged at most once a
/// second.
#[derive(Default)]
pub(super) struct Unheard {
    to: RefCell<Option<Recipient<PublishFailure>>>,
    failed: Cell<u64>,
    latest: Cell<Option<PublishError>>,
    logged: Cell<Option<Instant>>,
}

impl Unheard {
    const PAUSE: Duration = Duration::from_secs(1);

    fn failed(&self, publish: Option<Box<AnyPublish>>, error: PublishError) {
        let to = self.to.borrow();
        match (publish, to.as_ref().filter(|to| to.connected())) {
            (Some(publish), Some(to)) => {
                let publish = *publish;
                to.do_send(PublishFailure { publish, error });
            }
            _ => {
                self.failed.set(self.failed.get().saturating_add(1));
                self.latest.set(Some(error));
            }
        }
    }

    /// When there is something to log that has waited long enough, unless that is at once.
    pub(super) fn due(&self) -> Option<Instant> {
        let logged = self.logged.get().filter(|_| self.failed.get() > 0);
        logged.map(|logged| logged + Self::PAUSE)
    }

    pub(super) fn log_if_due(&self, now: Instant) {
        if self.due().is_none_or(|due| due <= now) && self.log() {
            self.logged.set(Some(now));
        }
    }

    /// Logs what there is; returns whether there was anything.
    pub(super) fn log(&self) -> bool {
        let failed = self.failed.take();
        let latest = self.latest.take();
        if let Some(error) = &latest {
            let delivery = error.delivery();
            warn!(
                "publishes that failed and whose answers nobody awaits: {failed}; the latest ({delivery:?}): {error}"
            );
        }
        latest.is_some()
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        self.log();
    }
}
