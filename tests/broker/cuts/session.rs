//! What the producer of a session publishes.

use std::time::Duration;

use actix_nsq::actix::Addr;
use actix_nsq::bytes::Bytes;
use actix_nsq::{DeferredPublish, MultiPublish, Producer, Publish, PublishError};
use futures::future::LocalBoxFuture;

use crate::fixture::topic;
use crate::support::record::Id;

/// One publish: its topic, and the size of its body or bodies.
#[derive(Clone, Copy, Debug)]
pub enum Send {
    Pub(&'static str, usize),
    Mpub(&'static str, &'static [usize]),
    Dpub(&'static str, usize),
}

impl Send {
    pub fn topic(&self) -> &'static str {
        match self {
            Self::Pub(topic, _) | Self::Mpub(topic, _) | Self::Dpub(topic, _) => topic,
        }
    }

    pub fn sizes(&self) -> &[usize] {
        match self {
            Self::Pub(_, size) | Self::Dpub(_, size) => std::slice::from_ref(size),
            Self::Mpub(_, sizes) => sizes,
        }
    }

    pub fn is_longer_than(&self, limit: usize) -> bool {
        self.sizes().iter().any(|size| *size > limit)
    }

    pub fn send(
        &self,
        producer: &Addr<Producer>,
        bodies: &[Bytes],
    ) -> LocalBoxFuture<'static, Result<(), PublishError>> {
        let (topic, body) = (topic(self.topic()), bodies[0].clone());
        match self {
            Self::Pub(..) => {
                let answer = producer.send(Publish::new(topic, body));
                Box::pin(async { answer.await? })
            }
            Self::Mpub(..) => {
                let answer = producer.send(MultiPublish::new(topic, bodies.to_vec()));
                Box::pin(async { answer.await? })
            }
            Self::Dpub(..) => {
                let delay = Duration::from_millis(1);
                let answer = producer.send(DeferredPublish::new(topic, delay, body));
                Box::pin(async { answer.await? })
            }
        }
    }
}

/// Publishes that are sent at once.
#[derive(Debug)]
pub struct Session {
    pub name: &'static str,
    /// Largest body that nsqd accepts.
    pub limit: usize,
    pub sends: &'static [Send],
}

/// The messages and the answer of each publish of a session.
#[derive(Debug)]
pub struct Played {
    pub ids: Vec<Vec<Id>>,
    pub bodies: Vec<Vec<Bytes>>,
    pub answers: Vec<Result<(), PublishError>>,
}
