//! The way of one message: from the source, through the filter, to a destination.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use actix_nsq::{Delivery, IncomingMessage, ProducerHandle, ProducerPool, Topic};

use crate::{
    answer::Failure,
    filter::Filter,
    publisher::{Published, Publisher},
    report::Report,
};

/// Publishes messages, and answers them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forwarder<'a> {
    pub(crate) pool: &'a ProducerHandle<ProducerPool>,
    /// The topic of all messages; `None`: each keeps its own.
    pub(crate) topic: Option<&'a Topic>,
    pub(crate) filter: &'a Filter,
    pub(crate) report: &'a RefCell<Report>,
}

impl Forwarder<'_> {
    /// Publishes a message, and finishes it if a destination has stored it. Returns the time to the
    /// result; `None` if the message is not to be published.
    pub(crate) async fn forward(self, message: IncomingMessage) -> Option<Duration> {
        match self.filter.apply(message.body()) {
            Ok(Some(body)) => {
                let began = Instant::now();
                let publisher = Publisher {
                    pool: self.pool,
                    topic: self.topic.unwrap_or(message.topic()),
                    body,
                    deadline: message.deadline(),
                };
                let published = publisher.publish().await;
                self.answer(message, published);
                return Some(began.elapsed());
            }
            // Without effect only if it has expired: then it comes again.
            Ok(None) => {
                self.report.borrow_mut().passed_over();
                let _ = message.finish();
            }
            Err(error) => {
                self.report.borrow_mut().not_json(&message, &error);
                let _ = message.finish();
            }
        }
        None
    }

    fn answer(&self, message: IncomingMessage, published: Published) {
        let mut report = self.report.borrow_mut();
        let Published {
            may_be_stored,
            result,
        } = published;
        let Err(error) = result else {
            let finished = message.finish();
            return report.ok(may_be_stored || finished.is_err());
        };
        let failure = Failure::of(&error);
        let may_be_stored = may_be_stored || error.delivery() != Delivery::NotWritten;
        report.failed(&message, failure, may_be_stored, &error);
        // Without effect only if it has expired: then it comes again.
        let _ = message.requeue(failure.requeue());
    }
}
